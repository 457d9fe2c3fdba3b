"""What is asked about the same clips behind the same memory runs these clips once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from streamvlm.pipeline import StreamPipeline
from streamvlm.types import AnswerFinished, InputTokens
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip
from tests.streams import ask, feed, make_pipeline


@pytest.fixture
def runs(vlm: QwenVL, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many visual tokens each forward ran."""
    counted, prefill = list[int](), type(vlm).prefill

    def counting(self: QwenVL, inputs: InputTokens, context: Any) -> Any:
        counted.append(int(inputs.is_visual.sum()))
        return prefill(self, inputs, context)

    monkeypatch.setattr(type(vlm), "prefill", counting)
    return counted


def watched(vlm: QwenVL, num_clips: int = 9) -> StreamPipeline:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=2)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(num_clips)])
    return pipeline


def text_of(pipeline: StreamPipeline, question: str) -> str:
    answering = ask(pipeline, question)
    while not isinstance((event := answering.advance()[-1]), AnswerFinished):
        pass
    return event.text


def test_the_second_question_runs_no_clip_again(vlm: QwenVL, runs: list[int]) -> None:
    pipeline = watched(vlm)
    runs.clear()
    text_of(pipeline, "What is it?")
    assert sum(runs) > 0
    runs.clear()
    text_of(pipeline, "What is at the left?")
    assert runs and sum(runs) == 0


def test_all_rules_look_at_clips_that_ran_once(vlm: QwenVL, runs: list[int]) -> None:
    pipeline = watched(vlm)
    runs.clear()
    for condition in ("Is it dark?", "Is anyone there?", "Does it burn?"):
        pipeline.look(condition)
    assert [visual > 0 for visual in runs] == [True, False, False, False]


def test_an_answer_is_the_same_to_the_bit_whether_its_clips_had_run(vlm: QwenVL) -> None:
    fresh, used = watched(vlm), watched(vlm)
    text_of(used, "Where?")
    logits = [ask(each, "What is it?")._prompt for each in (fresh, used)]
    assert all(prompt is not None for prompt in logits)
    one, two = (prompt.run(vlm)[1].logits for prompt in logits if prompt is not None)
    assert torch.equal(one, two)
    assert fresh.look("Is it dark?") == used.look("Is it dark?")


def test_clips_behind_other_tokens_of_the_same_blocks_are_run_again(
    vlm: QwenVL, runs: list[int]
) -> None:
    """The same blocks, of which the layers attend to other tokens."""
    pipeline = watched(vlm)
    whole = ask(pipeline, "What is it?")._prompt
    assert whole is not None
    by_layer = torch.ones(vlm._layers, whole.num_recalled, dtype=torch.bool)
    by_layer[0, -1], by_layer[1:, -2] = False, False
    made, is_run = [], []
    for own in (None, by_layer, by_layer.clone(), None, by_layer.roll(1, dims=0)):
        runs.clear()
        made.append(pipeline._ready.made(vlm, replace(whole, by_layer=own, ready=None)).ready)
        is_run.append(sum(runs) > 0)
    assert is_run == [False, True, False, False, True]
    assert made[1] is made[2] and made[0] is made[3]


@pytest.mark.parametrize("change", ["a clip", "another recall", "an erasure"])
def test_what_changed_is_run_again(vlm: QwenVL, runs: list[int], change: str) -> None:
    pipeline = watched(vlm)
    text_of(pipeline, "What is it?")
    runs.clear()
    if change == "a clip":
        feed(pipeline, [make_clip(9, size=clip_size(vlm))])
    elif change == "another recall":
        pipeline.memory.erase([0])
    else:
        pipeline._ready.forget()
    before = len(runs)
    text_of(pipeline, "What is it?")
    assert sum(runs[before:]) > 0
