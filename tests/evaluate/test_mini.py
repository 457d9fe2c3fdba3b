"""Mini answers rightly, and would not if the way to its answers had a bug.

Few items, so the bars are well below what the model card says; each planted bug falls below them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoTokenizer, Qwen3VLForConditionalGeneration

import streamvlm.vlm
from streamvlm.config import Config
from streamvlm.encode import encoder
from streamvlm.evaluate import runner
from streamvlm.evaluate.methods import method
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.suites.mini import TEST_SEEDS, cases
from streamvlm.vlm import load, qwen3_vl
from streamvlm.vlm.qwen import QwenVL
from training.tokenizer import tokenizer

FOLDER = Path(streamvlm.vlm.__file__).parent / "mini"
MEGABYTE = 10**6
LOSS = 0.2
"""What a planted bug costs at least, of all answers."""


@cache
def mini() -> QwenVL:
    """The checkpoint of the package."""
    return load("mini", device="cpu", max_pixels=256 * 256)


def outcomes(name: str = "full") -> list[Outcome]:
    """A few short videos, asked twice."""
    asked = cases(TEST_SEEDS[:4], seconds=20.0, asks_per_video=2, questions_per_ask=12)
    return list(runner.run(mini(), asked, [method(name)], config=Config()))


def shares(given: list[Outcome]) -> dict[str, float]:
    """Right answers by group, and of all."""
    found: dict[str, list[bool]] = defaultdict(list)
    for each in given:
        found[each.item.group].append(each.is_right)
        found["all"].append(each.is_right)
    return {name: sum(marks) / len(marks) for name, marks in found.items()}


@cache
def healthy() -> dict[str, float]:
    """Without a bug."""
    return shares(outcomes())


def test_the_checkpoint_is_small_and_complete() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 15 * MEGABYTE
    assert AutoConfig.from_pretrained(FOLDER).model_type == "qwen3_vl"
    _, report = Qwen3VLForConditionalGeneration.from_pretrained(FOLDER, output_loading_info=True)
    assert not any(report.values()), report
    saved: Any = AutoTokenizer.from_pretrained(FOLDER)
    text = "When did the red circle appear? Où? 猫"
    assert saved(text).input_ids == tokenizer()(text).input_ids
    assert saved.decode(saved(text).input_ids) == text


def test_it_answers_better_than_a_blind_guess() -> None:
    for group, least in {"now": 0.75, "past": 0.65, "not answerable": 0.8}.items():
        assert healthy()[group] >= least, healthy()


def test_a_swapped_axis_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = encoder.preprocess
    monkeypatch.setattr(
        encoder, "preprocess", lambda pixels, *rest: preprocess(pixels.transpose(2, 3), *rest)
    )
    assert shares(outcomes())["all"] < healthy()["all"] - LOSS


def test_a_wrong_position_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_at_the_start(
        cells: torch.Tensor, grid_thw: tuple[int, int, int], start: int
    ) -> tuple[torch.Tensor, int]:
        return torch.zeros_like(cells), start

    monkeypatch.setattr(qwen3_vl, "place_by_order", all_at_the_start)
    assert shares(outcomes())["all"] < healthy()["all"] - LOSS


def test_a_dropped_timestamp_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = mini().layout
    clip_layout = layout._family.clip_layout

    def without_time(*arguments: Any) -> Any:
        before, *rest = clip_layout(*arguments)
        return (before.partition(">")[2], *rest)

    planted = replace(layout._family, clip_layout=without_time)
    monkeypatch.setattr(layout, "_family", planted)
    assert shares(outcomes())["all"] < healthy()["all"] - LOSS
