"""Feeds with their decoder processes: whatever dies, the stream goes on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from feeds import FPS, RULE, Taker, assert_times_advance, taking
from videos import cut, write_video

from streamvlm.capture import feed as feed_module
from streamvlm.errors import (
    SourceAddressError,
    SourceAuthError,
    SourceError,
    SourceFormatError,
    SourceNotFoundError,
    SourceUnreachableError,
)
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.evaluate.rtsp_server import Faults
from streamvlm.types import ClockSource, SourceState


def decoder_of(taker: Taker) -> psutil.Process:
    assert taker.feed.decoder_process_id is not None  # type: ignore[union-attr]
    return psutil.Process(taker.feed.decoder_process_id)  # type: ignore[union-attr]


def assert_goes_on_after_a_gap(taker: Taker) -> None:
    """Two clips before, a gap, and two clips after it, in order of time."""
    num_before = len(taker.items)
    items = taker.take_until(
        lambda items: len(items) >= num_before + 3 and bool(taker.gaps) and items[-1] in taker.clips
    )
    assert_times_advance(items)
    assert len(taker.gaps) == 1
    assert [clip.clip_index for clip in taker.clips] == list(range(len(taker.clips)))
    status = taker.feed.status()
    assert status.state is SourceState.LIVE
    assert (status.reconnects, status.gaps_total) == (1, 1)
    gap_seconds = taker.gaps[0].interval.duration_seconds
    assert status.gap_seconds_total == pytest.approx(gap_seconds)


def test_a_camera_killed_and_started_again_costs_a_gap_and_nothing_else() -> None:
    with RtspCamera() as camera, taking(camera.url) as taker:
        taker.feed.wait_until_live(10)
        taker.take_until(lambda items: len(items) >= 2)
        camera.kill()
        camera.start()
        assert_goes_on_after_a_gap(taker)
        assert taker.gaps[0].reason in ("SOURCE_LOST", "SOURCE_UNREACHABLE")
        assert taker.clips[-1].times[-1].clock is ClockSource.RTCP_SR


def test_a_frozen_camera_is_noticed_and_picked_up_again() -> None:
    with RtspCamera() as camera, taking(camera.url, read_timeout_seconds=0.6) as taker:
        taker.take_until(lambda items: len(items) >= 2)
        camera.freeze()
        deadline_seconds = time.monotonic() + 10
        while taker.feed.status().state is not SourceState.RECONNECTING:
            assert time.monotonic() < deadline_seconds
            threading.Event().wait(0.05)
        assert taker.feed.status().reason == "SOURCE_STALLED"
        camera.thaw()
        assert_goes_on_after_a_gap(taker)


def test_an_outage_that_goes_on_is_told_while_it_lasts() -> None:
    with RtspCamera() as camera, taking(camera.url) as taker:
        taker.take_until(lambda items: len(items) >= 2)
        camera.kill()
        deadline_seconds = time.monotonic() + 10
        while (blind := taker.feed.status().blind) is None:
            assert time.monotonic() < deadline_seconds
            threading.Event().wait(0.05)
        assert blind.reason in ("SOURCE_LOST", "SOURCE_UNREACHABLE")
        assert blind.interval.duration_seconds > 1.5
        camera.start()
        assert_goes_on_after_a_gap(taker)
        gap = taker.gaps[0].interval
        assert gap.start.pts_seconds <= blind.interval.start.pts_seconds + 1 / FPS
        assert gap.end.pts_seconds >= blind.interval.end.pts_seconds - 1.1
        assert taker.feed.status().blind is None


def test_a_killed_decoder_is_replaced_and_stream_time_goes_on() -> None:
    with RtspCamera() as camera, taking(camera.url) as taker:
        taker.take_until(lambda items: len(items) >= 2)
        killed = decoder_of(taker)
        killed.send_signal(signal.SIGKILL)
        assert_goes_on_after_a_gap(taker)
        assert taker.gaps[0].reason == "SOURCE_LOST"
        assert decoder_of(taker).pid != killed.pid


def test_a_decoder_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_LEAST_SILENCE_SECONDS", 1.0)
    with (
        RtspCamera() as camera,
        taking(camera.url, open_timeout_seconds=1.0, read_timeout_seconds=0.5) as taker,
    ):
        taker.take_until(lambda items: len(items) >= 2)
        decoder_of(taker).send_signal(signal.SIGSTOP)
        assert_goes_on_after_a_gap(taker)
        assert taker.gaps[0].reason == "SOURCE_STALLED"


def test_a_late_engine_loses_the_oldest_clips_of_a_camera_and_is_told() -> None:
    with RtspCamera() as camera, taking(camera.url, queue_clips=2) as taker:
        deadline_seconds = time.monotonic() + 10
        while taker.feed.status().clips_dropped < 2:
            assert time.monotonic() < deadline_seconds
            threading.Event().wait(0.05)
        items = taker.take_until(lambda items: len(items) >= 5)
        assert taker.gaps[0].reason == "ENGINE_LATE"
        assert taker.clips[0].clip_index >= 2
        assert_times_advance(items)


def test_a_file_waits_for_the_engine_and_arrives_whole(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=12)
    with taking(str(path), queue_clips=2) as taker:
        taker.feed.wait_until_live(10)
        taker.take_until(lambda items: len(items) == 30)
        assert [clip.clip_index for clip in taker.clips] == list(range(30))
        assert taker.feed.take() is None
        status = taker.feed.status()
        assert (status.clips_dropped, status.gaps_total, status.frames_sampled) == (0, 0, 60)


def test_the_end_of_a_file_is_told_and_wakes_the_engine(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", times_seconds=[0.0])
    with taking(str(path)) as taker:
        taker.feed.wait_until_live(10)
        (clip,) = taker.take_until(len)
        assert clip.pixels.shape == (2, *RULE.fit(120, 160), 3)  # type: ignore[union-attr]
        deadline_seconds = time.monotonic() + 10
        while taker.feed.status().state is not SourceState.ENDED:
            assert time.monotonic() < deadline_seconds
            threading.Event().wait(0.02)


def test_a_file_whose_decoder_dies_has_failed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", seconds=60)
    with taking(str(path), queue_clips=1) as taker:
        taker.feed.wait_until_live(10)
        decoder_of(taker).send_signal(signal.SIGKILL)
        deadline_seconds = time.monotonic() + 10
        while taker.feed.status().state is not SourceState.FAILED:
            taker.feed.take()
            assert time.monotonic() < deadline_seconds
            threading.Event().wait(0.02)
        assert taker.feed.status().reason == "SOURCE_LOST"


def first_error(address: str, caplog: pytest.LogCaptureFixture) -> SourceError:
    """What `wait_until_live` raises; checked to be quick and to keep secrets."""
    caplog.set_level(logging.DEBUG)
    began_seconds = time.monotonic()
    with (
        taking(address, open_timeout_seconds=2.0, read_timeout_seconds=0.6) as taker,
        pytest.raises(SourceError) as raised,
    ):
        taker.feed.wait_until_live(10)
    assert time.monotonic() - began_seconds < 5
    shown = f"{raised.value!r} {raised.value.__context__!r} {taker.feed.status()} {caplog.text}"
    assert "s3cret" not in shown and "hunter2" not in shown
    return raised.value


def test_each_way_a_source_can_fail_is_its_own_error_without_secrets(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    text = tmp_path / "a.txt"
    text.write_text("no video")
    with RtspCamera(credentials="s3cret:hunter2") as camera:
        url = camera.url
        assert type(first_error(url.replace("hunter2", "x"), caplog)) is SourceAuthError
        assert type(first_error(url + "x", caplog)) is SourceNotFoundError
    assert type(first_error(url, caplog)) is SourceUnreachableError
    with RtspCamera(credentials="s3cret:hunter2", faults=Faults(mute=True)) as camera:
        assert type(first_error(camera.url, caplog)) is SourceUnreachableError
    assert type(first_error(str(text), caplog)) is SourceFormatError
    assert type(first_error(str(tmp_path / "b.mp4"), caplog)) is SourceNotFoundError
    assert type(first_error("synthetic:nope", caplog)) is SourceAddressError


def test_credentials_are_not_in_the_arguments_of_any_process() -> None:
    with RtspCamera(credentials="s3cret:hunter2") as camera, taking(camera.url) as taker:
        taker.feed.wait_until_live(10)
        shown = str([child.cmdline() for child in psutil.Process().children(recursive=True)])
    assert "s3cret" not in shown and "hunter2" not in shown


def test_stopping_ends_the_decoder_at_once_and_may_be_repeated() -> None:
    with RtspCamera() as camera, taking(camera.url) as taker:
        taker.feed.wait_until_live(10)
        decoder = decoder_of(taker)
        began_seconds = time.monotonic()
        taker.feed.stop()
        taker.feed.stop()
        assert time.monotonic() - began_seconds < 3
        assert not decoder.is_running()
        assert taker.feed.decoder_process_id is None  # type: ignore[union-attr]


def test_many_feeds_that_are_asked_first_end_together() -> None:
    with RtspCamera() as camera, taking(camera.url) as first, taking(camera.url) as second:
        feeds = [taker.feed for taker in (first, second)]
        for feed in feeds:
            feed.wait_until_live(10)
        began_seconds = time.monotonic()
        for feed in feeds:
            feed.ask_to_stop()
        assert time.monotonic() - began_seconds < 0.2
        for feed in feeds:
            feed.stop()
            assert feed.status().state is SourceState.ENDED
        assert time.monotonic() - began_seconds < 3


def test_a_feed_that_never_started_can_be_stopped() -> None:
    from streamvlm.capture import open_feed

    open_feed(
        "door", "rtsp://cam/1", fps=FPS, rule=RULE, queue_clips=1,
        open_timeout_seconds=1.0, read_timeout_seconds=1.0,
    ).stop()  # fmt: skip


ORPHANING = """
import sys, time
sys.path.insert(0, sys.argv[2])
from feeds import taking
with taking(sys.argv[1]) as taker:
    taker.feed.wait_until_live(10)
    print(taker.feed.decoder_process_id, flush=True)
    time.sleep(60)
"""


def test_a_decoder_whose_parent_is_killed_exits_by_itself() -> None:
    with RtspCamera() as camera:
        parent = subprocess.Popen(
            [sys.executable, "-c", ORPHANING, camera.url, str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        with parent:
            assert parent.stdout is not None
            decoder = psutil.Process(int(parent.stdout.readline()))
            parent.kill()
        psutil.wait_procs([decoder], timeout=5)
        assert not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE


def test_a_decoder_starts_without_torch_and_quickly() -> None:
    program = "import streamvlm.capture.live, streamvlm.capture.decoder, sys; print(*sys.modules)"
    began_seconds = time.monotonic()
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    ).stdout.split()  # fmt: skip
    assert time.monotonic() - began_seconds < 2
    assert not {"torch", "decord", "transformers", "grpc", "pydantic"} & set(loaded)


def test_a_line_of_the_decoders_log_is_said_once_and_unadorned(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    options = {"movflags": "frag_keyframe+empty_moov"}
    whole = write_video(tmp_path / "whole.mp4", seconds=3.0, options=options)
    broken = cut(whole, tmp_path / "broken.mp4", 0.6)
    with taking(str(broken)) as taker:
        taker.take_until(lambda items: taker.feed.status().state is SourceState.ENDED)
    (line,) = [line for line in caplog.messages if "PyAV takes over" in line]
    assert line.startswith("stream ")
