"""The made-up scene: the same arguments, the same pixels; and times of rest."""

from __future__ import annotations

import time

import numpy as np
import pytest
from feeds import RULE, give_until

from streamvlm.capture import SourceAddress
from streamvlm.capture.scenes import MOVING_SECONDS, RESTING_SECONDS, moving
from streamvlm.capture.synthetic import SyntheticSource
from streamvlm.errors import SourceAddressError
from streamvlm.types import Frame, SourceReport, SourceState


def source(text: str, fps: float = 5.0) -> SyntheticSource:
    return SyntheticSource(SourceAddress.parse(text), fps=fps, rule=RULE)


def test_the_scene_moves_then_rests_then_moves() -> None:
    def at(time_seconds: float) -> np.ndarray:
        return moving(time_seconds, height=90, width=121, seed=3)

    assert at(1.0).shape == (90, 121, 3)
    assert (at(1.0) == at(1.0)).all()
    assert (at(1.0) != at(2.0)).any()
    assert (at(MOVING_SECONDS) == at(MOVING_SECONDS + RESTING_SECONDS - 0.1)).all()
    assert (at(MOVING_SECONDS) != at(MOVING_SECONDS + RESTING_SECONDS + 1)).any()
    assert (at(1.0) != moving(1.0, height=90, width=121, seed=4)).any()


def test_a_run_has_known_length_times_and_size_and_is_repeatable() -> None:
    text = "synthetic:moving?seconds=2&fps=10&height=100&width=200"
    first, second = list(source(text)), list(source(text))
    frames = [item for item in first if isinstance(item, Frame)]
    assert [frame.time.pts_seconds for frame in frames] == pytest.approx(np.arange(10) / 5)
    assert frames[0].pixels.shape == (*RULE.fit(100, 200), 3)
    assert first[-1] == SourceReport(state=SourceState.ENDED)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, Frame) and isinstance(other, Frame):
            assert one.time == other.time and (one.pixels == other.pixels).all()


def test_in_real_time_frames_come_when_they_are_due() -> None:
    began_seconds = time.monotonic()
    items = source("synthetic:still?seconds=1&realtime=1")
    give_until(items, lambda item: isinstance(item, Frame) and item.time.pts_seconds >= 0.6)
    assert time.monotonic() - began_seconds >= 0.6


@pytest.mark.parametrize(
    "text",
    ["nope", "moving?speed=3", "moving?seconds=-1", "moving?fps=x", "moving?height=100000"],
)
def test_what_a_scene_cannot_be_is_refused_with_what_it_can(text: str) -> None:
    with pytest.raises(SourceAddressError, match=r"allowed: |must be from"):
        source(f"synthetic:{text}")
