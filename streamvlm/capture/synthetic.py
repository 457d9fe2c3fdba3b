"""A made-up scene as a source: known content, no camera, no file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import av

from streamvlm.capture.address import SourceAddress
from streamvlm.capture.picture import Resizer
from streamvlm.capture.sampling import TimeSampler
from streamvlm.capture.scenes import SCENES
from streamvlm.capture.source import SourceItem
from streamvlm.errors import SourceAddressError
from streamvlm.types import (
    ClockSource,
    Frame,
    GridRule,
    SourceReport,
    SourceState,
    StreamTime,
)

FIRST_UTC_SECONDS = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""When a synthetic stream begins, unless it runs in real time: each run has the same times."""

_LIMITS: dict[str, tuple[float, float, float]] = {
    # name: default, smallest, largest
    "seconds": (60.0, 0.04, 86_400.0),
    "fps": (10.0, 0.1, 60.0),
    "height": (240, 16, 4_320),
    "width": (320, 16, 7_680),
    "seed": (0, 0, 2**31),
    "realtime": (0, 0, 1),
}


class SyntheticSource:
    """`synthetic:SCENE?seconds=..&fps=..&height=..&width=..&seed=..&realtime=1`.

    Gives frames as fast as they are taken, or, in real time, when they are due. Raises
    SourceAddressError for an unknown scene or parameter.
    """

    def __init__(self, address: SourceAddress, *, fps: float, rule: GridRule) -> None:
        self.frames_decoded = 0
        if address.location not in SCENES:
            raise SourceAddressError(
                f"unknown scene {address.location!r}; allowed: {', '.join(sorted(SCENES))}"
            )
        self._render = SCENES[address.location]
        self._settings = _settings(address.parameters)
        self._sampler = TimeSampler(fps)
        self._resizer = Resizer(rule)
        self._closing = threading.Event()

    def close(self) -> None:
        """Make the iteration end at its next item."""
        self._closing.set()

    def __iter__(self) -> Iterator[SourceItem]:
        settings = self._settings
        began_seconds = time.monotonic()
        is_realtime = bool(settings["realtime"])
        first_utc_seconds = time.time() if is_realtime else FIRST_UTC_SECONDS
        clock = ClockSource.ARRIVAL if is_realtime else ClockSource.FILE
        yield SourceReport(state=SourceState.LIVE)
        frame_index = 0
        for index in range(round(settings["seconds"] * settings["fps"])):
            pts_seconds = index / settings["fps"]
            self.frames_decoded += 1
            if not self._sampler.wants(pts_seconds):
                continue
            due_seconds = began_seconds + pts_seconds if is_realtime else 0.0
            if self._closing.wait(max(0.0, due_seconds - time.monotonic())):
                return
            stream_time = StreamTime(
                pts_seconds=pts_seconds, utc_seconds=first_utc_seconds + pts_seconds, clock=clock
            )
            yield self._frame(stream_time, frame_index)
            frame_index += 1
        yield SourceReport(state=SourceState.ENDED)

    def _frame(self, stream_time: StreamTime, frame_index: int) -> Frame:
        picture = self._render(
            stream_time.pts_seconds,
            height=int(self._settings["height"]),
            width=int(self._settings["width"]),
            seed=int(self._settings["seed"]),
        )
        pixels = self._resizer.pixels(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        return Frame(pixels=pixels, time=stream_time, frame_index=frame_index)


def _settings(parameters: dict[str, str]) -> dict[str, float]:
    settings = {name: default for name, (default, _, _) in _LIMITS.items()}
    for name, text in parameters.items():
        if name not in _LIMITS:
            raise SourceAddressError(
                f"unknown parameter {name!r} of a synthetic source; allowed: {', '.join(_LIMITS)}"
            )
        _, smallest, largest = _LIMITS[name]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not smallest <= value <= largest:
            raise SourceAddressError(
                f"{name}={text!r} of a synthetic source must be from {smallest:g} to {largest:g}"
            )
        settings[name] = value
    return settings
