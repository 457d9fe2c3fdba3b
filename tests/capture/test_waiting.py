"""The queue between decoder and engine: bounded, and honest about what it drops."""

from __future__ import annotations

import threading

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


def gap(start: float, end: float) -> Gap:
    return Gap(interval=Interval(start=at(start), end=at(end)), reason="SOURCE_LOST")


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


def test_gaps_in_a_row_become_one_and_never_pile_up() -> None:
    waiting = WaitingClips(3)
    for index in range(0, 100, 2):
        waiting.put(clip(index))
        waiting.put(gap(index + 1, index + 1.5))
        waiting.put(gap(index + 1.5, index + 2))
    items = take_all(waiting)
    assert [type(item) for item in items] == [Gap, Clip, Gap, Clip, Gap, Clip, Gap]
    assert (items[0].interval.start, items[0].interval.end) == (at(0), at(94))
    assert items[-1].interval.end == at(100)


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
