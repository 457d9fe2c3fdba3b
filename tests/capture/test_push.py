"""Pushed frames: the same clips as from a camera; what is broken is refused at once."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from feeds import RULE, Taker, assert_times_advance
from PIL import Image

from streamvlm.capture import PushFeed
from streamvlm.capture.push import Encoding
from streamvlm.capture.scenes import moving
from streamvlm.errors import FrameError, SourceLostError
from streamvlm.types import Clip, ClockSource, SourceState

UTC = 1_750_000_000.0


def pushing(queue_clips: int = 8, fps: float = 2.0, pause_seconds: float = 3.0) -> Taker:
    feed = PushFeed(
        "door", fps=fps, rule=RULE, queue_clips=queue_clips, pause_seconds=pause_seconds
    )
    taker = Taker(feed)
    taker.start()
    feed.wait_until_live(0.0)
    return taker


def push_scene(taker: Taker, times_seconds: list[float]) -> int:
    assert isinstance(taker.feed, PushFeed)
    picture = moving(0.0, height=56, width=84).tobytes()
    sampled = [
        taker.feed.push(picture, "rgb24", height=56, width=84, utc_seconds=UTC + t)
        for t in times_seconds
    ]
    return sum(sampled)


def encoded(encoding: str, color: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (84, 56), color).save(file, encoding)
    return file.getvalue()


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
@pytest.mark.parametrize("color", [(200, 30, 30), (0, 0, 0), (255, 255, 255)])
def test_encoded_pictures_keep_their_colors(
    encoding: Encoding, color: tuple[int, int, int]
) -> None:
    taker = pushing()
    assert isinstance(taker.feed, PushFeed)
    taker.feed.push(encoded(encoding, color), encoding)
    taker.feed.stop()
    (clip,) = taker.take_until(len)
    assert isinstance(clip, Clip)
    assert np.abs(clip.pixels.astype(int) - color).max() <= 4
    assert clip.times[0].clock is ClockSource.ARRIVAL


def test_frames_are_sampled_by_their_time_and_paired() -> None:
    taker = pushing()
    assert push_scene(taker, [index / 10 for index in range(21)]) == 5
    taker.feed.stop()
    clips = taker.take_until(lambda items: len(items) == 3)
    assert [item.times[0].pts_seconds for item in clips if isinstance(item, Clip)] == [0, 1, 2]
    status = taker.feed.status()
    assert (status.frames_decoded, status.frames_sampled) == (21, 5)
    assert status.state is SourceState.ENDED
    assert status.last_frame is not None and status.last_frame.clock is ClockSource.CLIENT


def test_a_late_engine_costs_the_oldest_clips() -> None:
    taker = pushing(queue_clips=2)
    push_scene(taker, [index / 2 for index in range(10)])
    items = taker.take_until(lambda items: len(items) == 3)
    assert taker.feed.status().clips_dropped == 3
    assert (taker.gaps[0].reason, taker.gaps[0].interval.duration_seconds) == ("ENGINE_LATE", 3.0)
    assert_times_advance(items)


def test_a_long_pause_is_a_gap_and_parts_a_pair() -> None:
    taker = pushing()
    push_scene(taker, [0.0, 30.0, 30.5])
    items = taker.take_until(lambda items: len(items) == 3)
    assert [type(item).__name__ for item in items] == ["Clip", "Gap", "Clip"]
    assert taker.gaps[0].reason == "SOURCE_STALLED"
    assert_times_advance(items)


BROKEN: list[tuple[bytes, str, int | None, int | None]] = [
    (b"", "jpeg", None, None),
    (b"no picture", "jpeg", None, None),
    (encoded("png", (1, 2, 3))[:60], "png", None, None),
    (encoded("png", (1, 2, 3)), "jpeg", None, None),
    (b"12", "rgb24", 1, 1),
    (b"", "rgb24", None, None),
    (b"", "rgb24", 0, 5),
    (b"", "rgb24", 100_000, 100_000),
    (bytes(3 * 300), "rgb24", 1, 300),
    (b"x", "webp", None, None),
    # A PNG header that promises 30000 x 30000 pixels.
    (encoded("png", (1, 2, 3))[:16] + (30_000).to_bytes(4, "big") * 2 + b"x" * 20, "png", 1, 1),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_such_picture_is_refused_and_the_stream_goes_on(
    broken: tuple[bytes, Encoding, int | None, int | None],
) -> None:
    image, encoding, height, width = broken
    taker = pushing()
    assert isinstance(taker.feed, PushFeed)
    # Neither its time nor its turn counts: the pictures after it are as good as without it.
    for later_seconds in (0.0, 1e7):
        with pytest.raises(FrameError):
            taker.feed.push(
                image, encoding, height=height, width=width, utc_seconds=UTC + later_seconds
            )
    assert push_scene(taker, [1.0, 1.5]) == 2
    with pytest.raises(FrameError):
        taker.feed.push(image, encoding, height=height, width=width, utc_seconds=UTC + 2.0)
    assert push_scene(taker, [2.1, 2.5]) == 2
    assert taker.feed.status().frames_decoded == 4
    assert len(taker.take_until(len)) == 1


@pytest.mark.parametrize("utc_seconds", [-1.0, float("nan"), float("inf"), 1e15, UTC - 1])
def test_impossible_times_are_refused(utc_seconds: float) -> None:
    taker = pushing()
    push_scene(taker, [0.0])
    with pytest.raises(FrameError):
        push_scene(taker, [utc_seconds - UTC])


def test_after_the_end_nothing_can_be_pushed() -> None:
    taker = pushing()
    taker.feed.stop()
    taker.feed.stop()
    with pytest.raises(SourceLostError):
        push_scene(taker, [0.0])


def test_a_time_far_ahead_is_refused_and_one_a_little_ahead_is_not() -> None:
    taker = pushing()
    with pytest.raises(FrameError, match="3600 s ahead of now"):
        push_scene(taker, [time.time() - UTC + 3700])
    assert push_scene(taker, [time.time() - UTC + 3500]) == 1


def test_a_frame_without_a_partner_is_given_out_after_a_pause_which_is_blindness() -> None:
    taker = pushing(fps=25.0, pause_seconds=0.3)
    push_scene(taker, [0.0])
    (clip,) = taker.take_until(len)
    assert isinstance(clip, Clip) and clip.times[0] == clip.times[1]
    time.sleep(0.05)
    blind = taker.feed.status().blind
    assert blind is not None and blind.reason == "SOURCE_STALLED"
    assert blind.interval.start == clip.interval.end
    push_scene(taker, [10.0])
    assert taker.feed.status().blind is None
    assert len(taker.take_until(lambda items: len(items) == 3)) == 3
    taker.feed.ask_to_stop()
    time.sleep(0.4)
    assert taker.feed.status().blind is None
