"""The queue between decoder and engine: bounded, and honest about what it drops."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np

from streamvlm.capture import ENGINE_LATE
from streamvlm.capture.waiting import WaitingClips
from streamvlm.types import Clip, ClockSource, Gap, Interval, StreamTime


def at(seconds: float) -> StreamTime:
    return StreamTime(pts_seconds=seconds, utc_seconds=seconds, clock=ClockSource.ARRIVAL)


def clip(index: int) -> Clip:
    pixels = np.zeros((2, 28, 28, 3), np.uint8)
    times = (at(index), at(index + 0.5))
    return Clip(stream_id="s", clip_index=index, pixels=pixels, times=times, frame_seconds=0.5)


def gap(start: float, end: float, reason: str = "SOURCE_LOST") -> Gap:
    return Gap(interval=Interval(start=at(start), end=at(end)), reason=reason)


def take_all(waiting: WaitingClips) -> list[Clip | Gap]:
    return list(iter(waiting.take, None))


def test_the_oldest_clips_are_dropped_counted_and_become_one_gap() -> None:
    waiting = WaitingClips(2)
    for index in range(5):
        waiting.put(clip(index))
    assert waiting.counts() == (2, 3, 1, 3.0)
    blind, *clips = take_all(waiting)
    assert isinstance(blind, Gap) and blind.reason == ENGINE_LATE
    assert (blind.interval.start, blind.interval.end) == (at(0), at(3))
    assert [c.clip_index for c in clips if isinstance(c, Clip)] == [3, 4]
    assert waiting.counts() == (0, 3, 1, 3.0)


def test_gaps_of_one_reason_that_touch_become_one() -> None:
    waiting = WaitingClips(3)
    for item in (clip(0), gap(1, 2), gap(2, 3), gap(3, 4, "SOURCE_STALLED"), gap(5, 6)):
        waiting.put(item)
    _, *gaps = take_all(waiting)
    assert gaps == [gap(1, 3), gap(3, 4, "SOURCE_STALLED"), gap(5, 6)]


def test_gaps_never_pile_up_and_the_longest_keeps_its_reason() -> None:
    waiting = WaitingClips(3)
    for index in range(0, 1000, 2):
        waiting.put(clip(index))
        waiting.put(gap(index + 1, index + 1.4))
        waiting.put(gap(index + 1.4, index + 2, "SOURCE_STALLED"))
    items = take_all(waiting)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert len(gaps) == 3 + 32 and len(items) == 3 + 32 + 3
    assert gaps[0].interval.start == at(0) and items[-1].interval.end == at(1000)
    for earlier, later in pairwise(items):
        assert earlier.interval.end == later.interval.start


def test_a_long_outage_keeps_its_reason_beside_a_clip_that_came_too_late() -> None:
    waiting = WaitingClips(1)
    for item in (clip(0), gap(1, 3600, "SOURCE_AUTH_FAILED"), clip(3600), clip(3600.96)):
        waiting.put(item)
    *gaps, last = take_all(waiting)
    assert gaps == [
        gap(0, 1, ENGINE_LATE), gap(1, 3600, "SOURCE_AUTH_FAILED"), gap(3600, 3600.96, ENGINE_LATE),
    ]  # fmt: skip
    assert isinstance(last, Clip)


def test_a_patient_filler_waits_for_room_until_it_is_made_or_the_queue_is_closed() -> None:
    waiting = WaitingClips(1)
    waiting.put(clip(0))
    answers: list[bool] = []
    for release in (waiting.take, waiting.close):
        thread = threading.Thread(target=lambda: answers.append(waiting.wait_for_room()))
        thread.start()
        release()
        thread.join(5)
        waiting.put(clip(1))
    assert answers == [True, False]
