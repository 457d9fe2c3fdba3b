"""A run in legs, at a size that takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import training.see
from streamvlm.vlm import load
from training.answer import answer
from training.architecture import build
from training.export import begin_from, export
from training.feed import batches
from training.leg import Leg, rate_at
from training.see import see
from training.settings import CPU
from training.tokenizer import tokenizer

SMALL = replace(
    CPU,
    see_steps=2,
    see_clips=4,
    answer_steps=2,
    answer_rows=1,
    scene_seconds=10,
    held_out_scenes=1,
    workers=0,
    first_scenes=1,
    short_steps=1,
)
MEBIBYTE = 2**20


def test_legs_go_on_where_the_last_one_ended_and_export_what_loads(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for see_steps, answer_steps in ((1, 0), (2, 1), (2, 2)):
        settings = replace(SMALL, see_steps=see_steps, answer_steps=answer_steps)
        leg, model = Leg(folder, settings, minutes=5), build(tokenizer())
        see(leg, model)
        answer(leg, model)
        assert leg.steps == {"see": see_steps, "answer": answer_steps}
    assert (folder / "weights.safetensors").stat().st_size < 16 * MEBIBYTE
    (folder / "exact.pt").unlink()  # may be lost: the next leg begins from the 16-bit weights
    leg, again = Leg(folder, replace(SMALL, answer_steps=3), minutes=5), build(tokenizer(), seed=1)
    answer(leg, again)
    assert leg.steps["answer"] == 3

    export(folder, tmp_path / "checkpoint")
    vlm = load(str(tmp_path / "checkpoint"), max_pixels=256 * 256)
    trained = again.model.language_model.embed_tokens.weight
    assert torch.equal(vlm._text_model.embed_tokens.weight, trained.half().float())

    earlier = tmp_path / "earlier.safetensors"
    weights = load_file(folder / "weights.safetensors")
    save_file({name: torch.zeros_like(value) for name, value in weights.items()}, earlier)
    export(folder, tmp_path / "mean", [earlier])
    mean = load(str(tmp_path / "mean"), max_pixels=256 * 256)
    assert torch.allclose(
        mean._text_model.embed_tokens.weight, trained.half().float() / 2, atol=1e-4
    )

    begin_from(tmp_path / "checkpoint", tmp_path / "next", SMALL)
    leg, third = Leg(tmp_path / "next", SMALL, minutes=5), build(tokenizer(), seed=2)
    assert leg.steps == {"see": SMALL.see_steps, "answer": SMALL.short_steps}
    leg.restore("answer", {"text": third.model.language_model}, torch.optim.SGD([trained]))
    assert torch.equal(third.model.language_model.embed_tokens.weight, trained.half().float())


def test_a_tower_that_sees_again_leaves_the_language_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.see, "_READING_STEPS", 2)
    begin_from(Path("streamvlm/vlm/mini"), tmp_path / "run", SMALL, see_again=2)
    before = load_file(tmp_path / "run" / "weights.safetensors")
    leg = Leg(tmp_path / "run", replace(SMALL, see_steps=1), minutes=5)
    assert leg.steps == {"see": 0, "answer": SMALL.short_steps}
    see(leg, build(tokenizer()))
    read = load_file(tmp_path / "run" / "weights.safetensors")
    see(Leg(tmp_path / "run", SMALL, minutes=5), build(tokenizer()))
    after = load_file(tmp_path / "run" / "weights.safetensors")
    for name, value in after.items():
        if name.startswith("text"):
            assert torch.equal(value, before[name]), name
        elif name.startswith("cell_heads"):
            assert torch.equal(value, read[name]), name
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_a_leg_ends_in_time(tmp_path: Path) -> None:
    leg = Leg(tmp_path, SMALL, minutes=0)
    see(leg, build(tokenizer()))
    assert leg.steps["see"] == 0


def test_the_log_is_json_lines(tmp_path: Path) -> None:
    leg = Leg(tmp_path, SMALL, minutes=1)
    leg.note({"loss": 1.0, "nothing": float("nan")})
    leg.note({"loss": 3.0})
    leg.log("see")
    line = json.loads((tmp_path / "log.jsonl").read_text())
    assert line["loss"] == 2.0
    assert "nothing" not in line


def test_the_learning_rate_rises_stays_and_falls() -> None:
    rates = [rate_at(step / 1000, 1.0, steps_known=step) for step in range(1001)]
    assert rates[0] == 0.005
    assert set(rates[200:600]) == {1.0}
    assert rates[-1] == pytest.approx(0.02)


def test_the_learning_rate_rises_again_where_the_optimiser_begins_anew() -> None:
    assert rate_at(0.05, 1.0, steps_known=0) == 0.005
    assert rate_at(0.07, 1.0, steps_known=200) == 1.0


def test_the_learning_rate_of_a_last_leg_comes_down_with_its_time(tmp_path: Path) -> None:
    leg = Leg(tmp_path, SMALL, minutes=0.001, is_last=True)
    time.sleep(0.06)
    assert leg.share_done("answer", 1000) >= 1
    assert Leg(tmp_path, SMALL, minutes=0.001).share_done("answer", 1000) == 0


# A worker of torch's loader that is stopped in the middle of a batch may abort on its way out.
@pytest.mark.filterwarnings("ignore:Exception ignored in.*_MultiProcessingDataLoaderIter")
def test_workers_share_the_seeds_and_the_steps() -> None:
    visual = build(tokenizer()).model.visual
    settings = replace(SMALL, workers=2, answer_rows=4, questions=6)
    made = batches(visual, settings, first_step=4)
    sizes = [len(next(made).ids) for _ in range(4)]
    assert sizes == [4, 1, 1, 1], "the steps 4 to 7, in order: a short one, then long ones"


def test_training_needs_none_of_what_the_service_does() -> None:
    asked = (
        "import sys, training.__main__; print(*{each.partition('.')[0] for each in sys.modules})"
    )
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert not {"av", "decord", "faiss", "grpc", "pydantic", "redis"} & set(told.stdout.split())
