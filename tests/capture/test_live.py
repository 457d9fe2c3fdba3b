"""A camera read in this process, against a real RTSP server with real faults."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psutil
import pytest
from feeds import FPS, RULE, give_until, quick_backoff

from streamvlm.capture import SourceAddress
from streamvlm.capture.live import LiveSource
from streamvlm.capture.source import SourceItem
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.evaluate.rtsp_server import Faults
from streamvlm.types import ClockSource, Frame, Gap, SourceReport, SourceState


@contextmanager
def watching(url: str, read_timeout_seconds: float = 1.0) -> Iterator[Iterator[SourceItem]]:
    source = LiveSource(
        "door",
        SourceAddress.parse(url),
        fps=FPS,
        rule=RULE,
        open_timeout_seconds=2.0,
        read_timeout_seconds=read_timeout_seconds,
        backoff=quick_backoff(),
    )
    items = iter(source)
    try:
        yield items
    finally:
        source.close()
        items.close()  # type: ignore[attr-defined]


def frames_of(items: list[SourceItem]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def first_failure(url: str, read_timeout_seconds: float = 1.0) -> SourceReport:
    with watching(url, read_timeout_seconds) as items:
        given = give_until(items, lambda item: isinstance(item, SourceReport) and item.reason != "")
    report = given[-1]
    assert isinstance(report, SourceReport) and report.state is SourceState.RECONNECTING
    return report


def test_a_camera_gives_sampled_frames_with_its_own_utc() -> None:
    with RtspCamera() as camera, watching(camera.url) as items:
        given = give_until(items, lambda i: isinstance(i, Frame) and i.time.pts_seconds > 1.5)
    frames = frames_of(given)
    times_seconds = [frame.time.pts_seconds for frame in frames]
    assert times_seconds[0] == 0
    assert times_seconds == pytest.approx([index / FPS for index in range(len(frames))], abs=0.11)
    assert frames[0].pixels.shape == (*RULE.fit(240, 320), 3)
    assert [frame.frame_index for frame in frames] == list(range(len(frames)))
    assert frames[-1].time.clock is ClockSource.RTCP_SR
    assert frames[-1].time.utc_seconds == pytest.approx(time.time(), abs=1)


@pytest.mark.parametrize(
    ("faults", "clock", "offset_seconds"),
    [
        (Faults(no_sender_reports=True), ClockSource.ARRIVAL, 0),
        (Faults(clock_offset_seconds=-100), ClockSource.RTCP_SR_SKEWED, -100),
        (Faults(first_timestamp=2**32 - 45_000), ClockSource.RTCP_SR, 0),
    ],
    ids=["no clock", "wrong clock", "timestamp wraps"],
)
def test_time_goes_on_with_whatever_clock_the_camera_has(
    faults: Faults, clock: ClockSource, offset_seconds: float
) -> None:
    with RtspCamera(faults=faults) as camera, watching(camera.url) as items:
        given = give_until(items, lambda i: isinstance(i, Frame) and i.time.pts_seconds > 1.0)
    last = frames_of(given)[-1].time
    assert last.pts_seconds < 2
    assert last.clock is clock
    assert last.utc_seconds == pytest.approx(time.time() + offset_seconds, abs=2)


def test_a_change_of_size_in_the_middle_is_followed() -> None:
    sizes = ((240, 320), (320, 240))
    with RtspCamera(sizes=sizes, seconds=1.0) as camera, watching(camera.url) as items:
        given = give_until(items, lambda i: isinstance(i, Frame) and i.time.pts_seconds > 1.5)
    assert {frame.pixels.shape for frame in frames_of(given)} == {
        (*RULE.fit(*size), 3) for size in sizes
    }
    assert not any(isinstance(item, Gap) for item in given)


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (Faults(stall_after_seconds=1.0), "SOURCE_STALLED"),
        (Faults(pictures_stop_after_seconds=1.0), "SOURCE_STALLED"),
        (Faults(cut_after_seconds=1.0), "SOURCE_LOST"),
    ],
    ids=["silence", "only sender reports", "cut"],
)
def test_a_fault_on_the_way_is_told_and_pictures_come_back_after_a_gap(
    faults: Faults, reason: str
) -> None:
    with RtspCamera(faults=faults) as camera, watching(camera.url, 0.6) as items:
        before = give_until(items, lambda item: isinstance(item, SourceReport) and item.reason)
        after = give_until(items, lambda item: isinstance(item, Frame))
    report, gap, frame = before[-1], after[-2], after[-1]
    assert isinstance(report, SourceReport) and report.reason == reason
    assert isinstance(gap, Gap) and gap.reason == reason
    assert isinstance(frame, Frame) and gap.interval.end == frame.time
    last = frames_of(before)[-1].time
    assert gap.interval.start.pts_seconds >= last.pts_seconds
    assert frame.time.pts_seconds > last.pts_seconds


def test_wrong_credentials_and_unknown_streams_are_told_at_once_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with RtspCamera(credentials="s3cret:hunter2") as camera:
        good = camera.url
        refused = first_failure(good.replace("hunter2", "hunter2x"))
        unknown = first_failure(good + "x")
        with watching(good) as items:
            give_until(items, lambda item: isinstance(item, Frame))
    gone = first_failure(good)
    assert refused.reason == "SOURCE_AUTH_FAILED"
    assert unknown.reason == "SOURCE_NOT_FOUND"
    assert gone.reason == "SOURCE_UNREACHABLE"
    shown = f"{refused} {unknown} {gone} {caplog.text}"
    assert "s3cret" not in shown and "hunter2" not in shown


def test_a_camera_that_never_answers_and_a_host_that_is_not_there_are_unreachable() -> None:
    with RtspCamera(faults=Faults(mute=True)) as camera:
        began_seconds = time.monotonic()
        assert first_failure(camera.url, 0.6).reason == "SOURCE_UNREACHABLE"
        assert time.monotonic() - began_seconds < 3
    assert first_failure("rtsp://nobody.invalid/x").reason == "SOURCE_UNREACHABLE"


def test_fifty_connections_leave_nothing_behind() -> None:
    process = psutil.Process(os.getpid())

    def connect(_: int) -> None:
        with watching(camera.url) as items:
            give_until(items, lambda item: isinstance(item, Frame))

    with RtspCamera(fps=25, seconds=1.0) as camera, ThreadPoolExecutor(5) as pool:
        # Opening waits for the camera more than it works.
        list(pool.map(connect, range(10)))
        gc.collect()
        num_fds, rss_bytes = process.num_fds(), process.memory_info().rss
        list(pool.map(connect, range(50)))
    gc.collect()
    assert process.num_fds() <= num_fds
    assert process.memory_info().rss - rss_bytes < 30 * 2**20
