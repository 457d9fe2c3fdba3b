from __future__ import annotations

from dataclasses import replace

from services.cameras import CameraWatch
from streamvlm.alerts import CameraState
from streamvlm.types import FeedStatus, Gap, Interval, MemoryStatus, SourceState, StreamStatus
from tests.conftest import at


def status(blind_seconds: float | None = None, last: float = 5.0) -> StreamStatus:
    """A stream that is blind for so long, or sees."""
    feed = FeedStatus(state=SourceState.LIVE, last_frame=at(last))
    if blind_seconds is not None:
        span = Interval(start=at(last), end=at(last + blind_seconds))
        feed = replace(feed, blind=Gap(interval=span, reason="SOURCE_LOST"))
    return StreamStatus(
        stream_id="door",
        source="push:",
        created_utc_seconds=0.0,
        feed=feed,
        memory=MemoryStatus(),
    )


def test_an_outage_is_told_once_and_its_end_once() -> None:
    cameras = CameraWatch(10.0)
    assert list(cameras.changes([status(9.0)])) == []
    (lost,) = cameras.changes([status(11.0)])
    assert list(cameras.changes([status(30.0)])) == []
    (back,) = cameras.changes([status(last=40.0)])
    assert list(cameras.changes([status(last=41.0)])) == []
    assert (lost.state, back.state) == (CameraState.LOST, CameraState.RECOVERED)
    assert lost.outage_id == back.outage_id and back.blind.duration_seconds == 35.0


def test_an_outage_outlives_the_worker_that_told_of_it() -> None:
    (lost,) = CameraWatch(10.0).changes([status(11.0)])
    later = CameraWatch(10.0)
    later.resume(lost)
    assert list(later.changes([])) == [], "the stream is not there yet"
    assert list(later.changes([status(20.0)])) == []
    (back,) = later.changes([status(last=40.0)])
    assert back.outage_id == lost.outage_id


def test_a_stream_that_was_removed_does_not_come_back() -> None:
    cameras = CameraWatch(10.0)
    list(cameras.changes([status(11.0)]))
    cameras.forget("door")
    assert list(cameras.changes([status(last=40.0)])) == []
