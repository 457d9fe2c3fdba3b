"""A stream of a month answers as it did in its first minute (I6), and what it stores does not drift
(I9, I10).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from streamvlm.pipeline import StreamPipeline
from streamvlm.types import Clip, InputTokens, RawKV
from streamvlm.vlm import inputs as inputs_module
from streamvlm.vlm.positions import Cursor
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.streams import ask, feed, make_pipeline, streamed_logits

TEXT = "What is at the left?"
MONTH_SECONDS = 30 * 86_400
MAX_SPAN = 24_000
SETTINGS: dict[str, Any] = dict(max_span=MAX_SPAN, fresh_clips=2, segment_clips=2)


def later(clip: Clip, seconds: float) -> Clip:
    return replace(clip, times=tuple(time.later(seconds) for time in clip.times))


def month_old(vlm: QwenVL) -> StreamPipeline:
    """A stream whose positions have grown for thirty days.

    Where clips are placed by time it is the clock that has gone on. Where they are placed by order
    it is the cursor: so late a clock would be told in other words, which are other tokens.
    """
    pipeline = make_pipeline(vlm, **SETTINGS)
    if vlm.moving_axes == (True, True, True):
        start = pipeline._cursor.text + 2 * MONTH_SECONDS
        pipeline._cursor = Cursor(text=start, temporal=start)
    return pipeline


def clips_of(vlm: QwenVL, *, is_old: bool, count: int = 8) -> list[Clip]:
    clips = [make_clip(i, size=clip_size(vlm)) for i in range(count)]
    by_time = vlm.moving_axes != (True, True, True)
    return [later(clip, MONTH_SECONDS) for clip in clips] if is_old and by_time else clips


def logits_of(pipeline: StreamPipeline) -> Tensor:
    return torch.stack(streamed_logits(ask(pipeline, TEXT), 3)[0])


def young_and_old(vlm: QwenVL) -> tuple[StreamPipeline, StreamPipeline]:
    young, old = make_pipeline(vlm, **SETTINGS), month_old(vlm)
    feed(young, clips_of(vlm, is_old=False))
    feed(old, clips_of(vlm, is_old=True))
    return young, old


def a_month_changes_nothing(vlm: QwenVL, tolerance: float) -> None:
    young, old = young_and_old(vlm)
    ledgers = [block.kv.positions for block in old.memory.blocks]
    assert min(int(ledger.max()) for ledger in ledgers) > 5_000_000, "it is not old"
    prompt = ask(old, TEXT)._prompt
    assert prompt is not None
    placed = [kv.positions for kv in prompt.remembered] + [prompt.inputs.positions]
    assert torch.cat(placed).max() < MAX_SPAN
    assert float((logits_of(old) - logits_of(young)).abs().max()) < tolerance


@pytest.mark.parametrize(
    ("dtype", "sharpened", "tolerance"), [("float64", True, 1e-9), ("float32", False, 1e-5)]
)
def test_a_stream_of_a_month_answers_as_a_young_one(
    family: str, dtype: str, sharpened: bool, tolerance: float
) -> None:
    """I6."""
    a_month_changes_nothing(tiny_vlm(family, dtype=dtype, sharpened=sharpened), tolerance)


def nothing_is_rebased(*_: Any) -> int:
    return 0


def test_without_rebasing_it_would_not(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug of I6: what `keep` did before was to clamp the gap behind the sinks."""
    monkeypatch.setattr(inputs_module, "rebase", nothing_is_rebased)
    with pytest.raises(AssertionError):
        a_month_changes_nothing(tiny_vlm(family, dtype="float64", sharpened=True), 1e-9)


def test_distances_between_old_blocks_are_kept(family: str) -> None:
    """An hour of darkness between two clips is an hour in the context, at the end of the month as
    at its start, as long as all of it fits; stored ledgers are not touched.
    """
    vlm = tiny_vlm(family)
    for is_old in (False, True):
        pipeline = month_old(vlm) if is_old else make_pipeline(vlm, **SETTINGS)
        clips = clips_of(vlm, is_old=is_old)
        feed(pipeline, clips[:4])
        cursor = pipeline._cursor
        pipeline._cursor = replace(cursor, text=cursor.text + 7200, temporal=cursor.temporal + 7200)
        feed(pipeline, clips[4:])
        stored = [block.kv.positions.clone() for block in pipeline.memory.blocks]
        prompt = ask(pipeline, TEXT)._prompt
        assert prompt is not None
        placed = [kv.positions for kv in prompt.remembered[1:]]
        steps = [int(b[0, 0] - a[0, 0]) for a, b in pairwise(placed)]
        assert steps == [int(b[0, 0] - a[0, 0]) for a, b in pairwise(stored)]
        assert max(steps) > 7000
        unchanged = zip(stored, pipeline.memory.blocks, strict=True)
        assert all(torch.equal(one, two.kv.positions) for one, two in unchanged)


def shifted(inputs: InputTokens, distance: int) -> InputTokens:
    return replace(inputs, positions=inputs.positions + distance)


def difference_of_shift(vlm: QwenVL, distance: int) -> float:
    """Between the logits of one forward and of the same with all positions moved."""
    pipeline = make_pipeline(vlm, fresh_clips=8)
    feed(pipeline, clips_of(vlm, is_old=False, count=4))
    prompt = ask(pipeline, TEXT)._prompt
    assert prompt is not None
    logits = []
    for moved in (0, distance):
        spans = [replace(kv, positions=kv.positions + moved) for kv in prompt.remembered]
        context = vlm.open_context(spans)
        logits.append(vlm.prefill(shifted(prompt.inputs, moved), context).logits)
    return float((logits[1] - logits[0]).abs().max())


def test_a_constant_on_all_axes_changes_nothing_until_angles_grow_wrong(family: str) -> None:
    """I6 itself, and why positions have to stay small: a million shows where attention is sharp."""
    assert difference_of_shift(tiny_vlm(family), 1000) < 1e-5
    sharp = tiny_vlm(family, dtype="float64", sharpened=True)
    small, large = difference_of_shift(sharp, 1000), difference_of_shift(sharp, 1_000_000)
    assert large > 1e-3 > small / 2
    assert large > 10 * small


def stored_keys(vlm: QwenVL) -> RawKV:
    pipeline = make_pipeline(vlm)
    feed(pipeline, clips_of(vlm, is_old=False, count=1))
    return pipeline.memory.blocks[0].kv


def turned(vlm: QwenVL, rotated: Tensor, distance: int) -> Tensor:
    """A key that is rotated already, moved on: what we never do."""
    return vlm.rotate(rotated, torch.full((rotated.shape[-2], 3), distance))


def relative(one: Tensor, two: Tensor) -> float:
    return float((one.double() - two.double()).norm() / two.double().norm())


def test_rotating_once_is_rotating_twice(family: str) -> None:
    """I9: to a position, or first to another one and then by the difference; in float32, and as far
    off as bfloat16 makes it.
    """
    for dtype, least, most in (("float32", 0.0, 1e-4), ("bfloat16", 1e-4, 1e-2)):
        vlm = tiny_vlm(family, dtype=dtype)
        kv = stored_keys(vlm)
        at_once = vlm.rotate(kv.keys, kv.positions + 300)
        in_two_steps = turned(vlm, vlm.rotate(kv.keys, kv.positions), 300)
        assert least <= relative(in_two_steps, at_once) < most


def test_editing_the_ledger_does_not_drift_and_turning_keys_does(family: str) -> None:
    """I10: a hundred moves there and back."""
    vlm = tiny_vlm(family, dtype="bfloat16")
    kv = stored_keys(vlm)
    native = vlm.rotate(kv.keys, kv.positions)
    edited, drifted = kv, native
    for number in range(100):
        distance = 97 if number % 2 == 0 else -97
        edited = replace(edited, positions=edited.positions + distance)
        drifted = turned(vlm, drifted, distance)
    assert torch.equal(vlm.rotate(edited.keys, edited.positions), native)
    assert relative(drifted, native) > 5 * relative(
        turned(vlm, turned(vlm, native, 97), -97), native
    )
