"""What a camera's reader makes of packets and pictures: no network, no clock but a scripted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from feeds import RULE

from streamvlm.capture import SourceAddress, live
from streamvlm.capture.clock import Instant, Resume
from streamvlm.capture.decoder import messages
from streamvlm.capture.live import LiveSource
from streamvlm.errors import SourceStalledError
from streamvlm.types import Clip, ClockSource, Frame, Gap, StreamTime

FPS = 2.0


class Script:
    """A connection whose packets come when they should; a packet's picture has its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, resume: Resume | None = None) -> None:
        self.now_seconds = 0.0
        monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: self.now_seconds))
        monkeypatch.setattr(Instant, "now", classmethod(lambda cls: self._now()))
        self.source = LiveSource(
            "door",
            SourceAddress.parse("rtsp://cam/1"),
            fps=FPS,
            rule=RULE,
            open_timeout_seconds=10.0,
            read_timeout_seconds=5.0,
            resume=resume,
        )
        self._replace("_resizer", SimpleNamespace(pixels=lambda _: np.zeros((56, 56, 3), np.uint8)))
        self._replace("_decode", lambda packet: [packet.picture] if packet.picture else [])

    def _replace(self, name: str, value: Any) -> None:
        setattr(self.source, name, value)

    def _now(self) -> Instant:
        return Instant(self.now_seconds, 1.75e9 + self.now_seconds)

    def play(self, times_seconds: list[float], is_keyframe: Callable[[int], bool],
             is_damaged: bool = False) -> list[Any]:  # fmt: skip
        def packets(*_: object) -> Iterator[Any]:
            for index, seconds in enumerate(times_seconds):
                self.now_seconds = self.source._heard_seconds = seconds
                picture = SimpleNamespace(pts=round(seconds * 1000), time_base=Fraction(1, 1000))
                yield SimpleNamespace(
                    is_keyframe=is_keyframe(index), picture=None if is_damaged else picture
                )

        self._replace("_packets", packets)
        stream = SimpleNamespace(codec_context=SimpleNamespace())
        container: Any = SimpleNamespace(streams=SimpleNamespace(video=[stream]))
        return list(self.source._pictures(container))


def frame_times(items: list[Any]) -> list[float]:
    return [item.time.pts_seconds for item in items if isinstance(item, Frame)]


def test_nothing_is_shown_before_the_first_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch)
    items = script.play([index / 2 for index in range(60)], lambda index: index % 50 == 40)
    # 20 s are longer than the limit for a picture, and no reason to give the connection up.
    assert len(frame_times(items)) == 20
    assert script.source.frames_decoded == 20


def test_a_camera_without_keyframes_is_given_up_after_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch)
    with pytest.raises(SourceStalledError, match="no keyframe to start at"):
        script.play([float(index) for index in range(200)], lambda _: False)
    assert script.now_seconds == 61


def test_packets_without_pictures_are_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch)
    with pytest.raises(SourceStalledError, match="data, but no picture"):
        script.play([float(index) for index in range(60)], lambda _: True, is_damaged=True)
    assert script.now_seconds == 11


def test_a_hole_inside_a_connection_is_a_gap_and_parts_a_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch)
    items = script.play([0, 0.5, 1.0, 4.5, 10.4, 10.9, 11.4], lambda _: True)
    monkeypatch.setattr(LiveSource, "__iter__", lambda _: iter(items))
    job: Any = SimpleNamespace(stream_id="door", fps=FPS, resume=None)
    given = [i for i in messages(job, script.source) if isinstance(i, Clip | Gap)]
    parts = [
        [time.pts_seconds for time in item.times] if isinstance(item, Clip) else item.reason
        for item in given
    ]
    assert parts == [[0, 0.5], [1.0, 4.5], "SOURCE_STALLED", [10.4, 10.9]]
    (gap,) = [item for item in given if isinstance(item, Gap)]
    interval = gap.interval
    assert (interval.start.pts_seconds, interval.end.pts_seconds) == (5.0, 10.4)


def test_a_decoder_that_takes_over_begins_its_gap_where_the_last_one_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    last = StreamTime(pts_seconds=40.0, utc_seconds=1.75e9, clock=ClockSource.ARRIVAL)
    resume = Resume(
        began_monotonic_seconds=-50.0, last=last, known_until=last, reason="SOURCE_LOST",
        next_frame_index=80, next_clip_index=40,
    )  # fmt: skip
    items = Script(monkeypatch, resume).play([0.0, 0.5], lambda _: True)
    (gap,) = [item for item in items if isinstance(item, Gap)]
    assert (gap.interval.start, gap.interval.end.pts_seconds) == (last, 50.0)
    assert gap.reason == "SOURCE_LOST"
