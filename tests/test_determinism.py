"""The same stream twice gives the same memory and the same answer (I24)."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from streamvlm.pipeline import StreamPipeline
from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, build_reducer
from streamvlm.reduce.strategies.random_rows import RandomRows
from streamvlm.types import Question, Sampling
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import ask, feed, make_pipeline
from tests.test_invariants import digest

TEXT = "What is at the left?"
RANDOMLY = {"name": "random", "keep_ratio": 0.5}


def lived(vlm: QwenVL, reduce: dict[str, Any]) -> StreamPipeline:
    """Four scenes that come twice: whatever looks alike ties."""
    pipeline = make_pipeline(vlm, reduce, fresh_clips=2, segment_clips=2, recall_blocks=2)
    size = clip_size(vlm)
    pictures = [make_clip(number % 4, size=size).pixels for number in range(12)]
    feed(
        pipeline,
        [make_clip(i, pixels, size=size) for i, pixels in enumerate(pictures)],
        signals=build_reducer(reduce).needs,
    )
    return pipeline


def answer(pipeline: StreamPipeline) -> list[int]:
    question = Question(
        question_id="q",
        stream_id="door",
        text=TEXT,
        sampling=Sampling(max_new_tokens=6, temperature=1.0, seed=3),
    )
    answering = pipeline.ask(question, 0.0)
    while not any(hasattr(event, "finish_reason") for event in answering.advance()):
        pass
    return answering._token_ids


def twice_is_the_same(vlm: QwenVL, reduce: dict[str, Any]) -> None:
    one, two = lived(vlm, reduce), lived(vlm, reduce)
    assert digest(one) == digest(two)
    shown = [ask(pipeline, TEXT)._started.evidence for pipeline in (one, two)]
    assert shown[0] == shown[1] and any(each.block_id is not None for each in shown[0])
    assert answer(one) == answer(two)


@pytest.mark.parametrize("name", [*REDUCERS, *SEGMENT_REDUCERS])
def test_twice_is_the_same(name: str) -> None:
    """Whatever reduces, even one that draws lots; ties included."""
    twice_is_the_same(tiny_vlm("qwen3-vl"), {"name": name})


def test_one_that_draws_without_a_seed_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug of I24."""
    twice_is_the_same(tiny_vlm("qwen3-vl"), RANDOMLY)
    draws = count()
    monkeypatch.setattr(RandomRows, "_seed_of", lambda self, clip_index: next(draws))
    with pytest.raises(AssertionError):
        twice_is_the_same(tiny_vlm("qwen3-vl"), RANDOMLY)
