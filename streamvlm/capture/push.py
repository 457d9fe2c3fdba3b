"""Frames given by a caller instead of a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Literal

import av
import numpy as np

from streamvlm.capture.clock import ARRIVAL_ERROR_SECONDS, Instant
from streamvlm.capture.picture import Resizer
from streamvlm.capture.sampling import ClipAssembler, TimeSampler
from streamvlm.capture.standing import Standing
from streamvlm.capture.waiting import WaitingClips
from streamvlm.errors import FrameError, SourceFormatError, SourceLostError, SourceStalledError
from streamvlm.types import (
    Clip,
    ClockSource,
    FeedStatus,
    Frame,
    Gap,
    GridRule,
    Interval,
    SourceReport,
    SourceState,
    StreamTime,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

Encoding = Literal["jpeg", "png", "rgb24"]

MAX_PIXELS = 8192 * 8192
"""Larger pictures are refused before they are decoded."""
MAX_AHEAD_SECONDS = 3_600.0
"""A time further ahead of this machine's clock is refused: all later frames would be too old."""
_CODECS = {"jpeg": "mjpeg", "png": "png"}


class PushFeed:
    """The same to the engine as a `Feed`; its frames come from `push`, in the caller's thread.

    Never waits for the engine: when it is late, the oldest clips are dropped. A pause longer than
    `pause_seconds` between two frames is a gap; a frame whose partner is not there by then is given
    out alone.
    """

    def __init__(
        self, stream_id: str, *, fps: float, rule: GridRule, queue_clips: int, pause_seconds: float
    ) -> None:
        self._pause_seconds = max(pause_seconds, 5 / fps)
        self._frame_seconds = 1.0 / fps
        self._sampler = TimeSampler(fps)
        self._assembler = ClipAssembler(stream_id, fps)
        self._resizer = Resizer(rule)
        self._waiting = WaitingClips(queue_clips)
        self._standing = Standing(
            "push:", frame_seconds=self._frame_seconds, patience_seconds=self._pause_seconds
        )
        self._wake: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._is_over = False
        self._first: tuple[Instant, float] | None = None
        self._pushed_seconds = 0.0
        self._timer: threading.Timer | None = None
        self._latest_seconds = 0.0
        self._frames_pushed = 0
        self._frames_sampled = 0

    def start(self, wake: Callable[[], None]) -> None:
        """Begin. `wake` is called whenever something can be taken: by the pushing thread, or by
        another one after a pause.
        """
        self._wake = wake

    def wait_until_live(self, timeout_seconds: float) -> None:
        """Return at once: whoever pushes can do so only after the stream exists."""

    def take(self) -> Clip | Gap | None:
        """The oldest clip or gap, or None; never waits."""
        return self._waiting.take()

    def status(self) -> FeedStatus:
        """How the source is doing; safe from any thread."""
        return self._standing.status(self._waiting.counts())

    def stop(self) -> None:
        """End the stream: a frame that waits for its partner is given out. May be called again."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            if self._timer is not None:
                self._timer.cancel()
            self._put(self._assembler.flush())
            self._standing.report(SourceReport(state=SourceState.ENDED))
        self._wake()

    def ask_to_stop(self) -> None:
        """The same as `stop`, which never waits here."""
        self.stop()

    def push(
        self,
        image: bytes,
        encoding: Encoding,
        *,
        height: int | None = None,
        width: int | None = None,
        utc_seconds: float | None = None,
    ) -> bool:
        """Take one picture; returns whether it was sampled. `utc_seconds` None = now.

        `height` and `width` are needed for rgb24 and ignored otherwise. A picture that is not
        sampled is not decoded. Raises FrameError, and changes nothing, for data that is no such
        picture and for a time before the last one or an hour ahead of now; SourceLostError after
        `stop`.
        """
        if encoding == "rgb24":
            _check_rgb24(image, height, width)
        with self._lock:
            if self._is_over:
                raise SourceLostError("this push stream has ended")
            now = Instant.now()
            stream_time = self._stream_time(utc_seconds, now)
            # A copy: a picture that turns out broken must not take the place of the next one.
            sampler = copy(self._sampler)
            is_sampled = sampler.wants(stream_time.pts_seconds)
            pixels = self._pixels(image, encoding, height, width) if is_sampled else None
            # Nothing is refused from here on.
            self._sampler = sampler
            self._first = self._first or (now, stream_time.utc_seconds)
            self._latest_seconds = stream_time.pts_seconds
            self._frames_pushed += 1
            if pixels is not None:
                self._take(pixels, stream_time)
            self._standing.advance(self._frames_pushed, self._frames_sampled)
        return is_sampled

    def _stream_time(self, utc_seconds: float | None, now: Instant) -> StreamTime:
        """Stream time counts from the first frame: by the caller's clock, or else by ours."""
        client_seconds = now.utc_seconds if utc_seconds is None else utc_seconds
        if not 0 <= client_seconds <= now.utc_seconds + MAX_AHEAD_SECONDS:
            raise FrameError(
                "utc_seconds must be seconds since 1970 and at most "
                f"{MAX_AHEAD_SECONDS:g} s ahead of now, got {utc_seconds}"
            )
        first, first_client_seconds = self._first or (now, client_seconds)
        if utc_seconds is None:
            elapsed_seconds = now.monotonic_seconds - first.monotonic_seconds
            pts_seconds = max(elapsed_seconds, self._latest_seconds)
        else:
            pts_seconds = utc_seconds - first_client_seconds
        if pts_seconds < self._latest_seconds:
            raise FrameError(
                f"a frame cannot be {self._latest_seconds - pts_seconds:.3f} s older than the last "
                "one; push frames in the order of their time"
            )
        return StreamTime(
            pts_seconds=pts_seconds,
            utc_seconds=client_seconds,
            clock=ClockSource.ARRIVAL if utc_seconds is None else ClockSource.CLIENT,
            clock_error_seconds=ARRIVAL_ERROR_SECONDS if utc_seconds is None else 0.0,
        )

    def _pixels(
        self, image: bytes, encoding: Encoding, height: int | None, width: int | None
    ) -> NDArray[np.uint8]:
        try:
            return self._resizer.pixels(_decoded(image, encoding, height, width))
        except SourceFormatError as error:
            raise FrameError(str(error)) from error

    def _take(self, pixels: NDArray[np.uint8], stream_time: StreamTime) -> None:
        last = self._standing.last_frame
        if last is None:
            self._standing.report(SourceReport(state=SourceState.LIVE))
        elif stream_time.pts_seconds - last.pts_seconds > self._pause_seconds:
            blind = Interval(start=last.later(self._frame_seconds), end=stream_time)
            gap = Gap(interval=blind, reason=SourceStalledError.reason)
            self._put([*self._assembler.flush(), gap])
        self._standing.note_frame(stream_time)
        frame = Frame(pixels=pixels, time=stream_time, frame_index=self._frames_sampled)
        self._frames_sampled += 1
        self._put(self._assembler.add(frame))
        self._pushed_seconds = time.monotonic()
        if self._timer is None:
            self._wait_for_partner(self._pause_seconds)

    def _wait_for_partner(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._flush_if_paused)
        self._timer.daemon = True
        self._timer.start()

    def _flush_if_paused(self) -> None:
        """Give out a frame that waited `pause_seconds` for its partner; look again otherwise."""
        with self._lock:
            self._timer = None
            if self._is_over:
                return
            left_seconds = self._pushed_seconds + self._pause_seconds - time.monotonic()
            if left_seconds > 0:
                self._wait_for_partner(left_seconds)
            else:
                self._put(self._assembler.flush())

    def _put(self, items: Sequence[Clip | Gap]) -> None:
        for item in items:
            self._waiting.put(item)
        if items:
            self._wake()


def _decoded(
    image: bytes, encoding: Encoding, height: int | None, width: int | None
) -> av.VideoFrame:
    """The picture. Raises FrameError."""
    if encoding == "rgb24":
        assert height is not None and width is not None, "checked by _check_rgb24"
        pixels = np.frombuffer(image, dtype=np.uint8).reshape(height, width, 3)
        return av.VideoFrame.from_ndarray(pixels, format="rgb24")
    if encoding not in _CODECS:
        raise FrameError(f"unknown encoding {encoding!r}; allowed: jpeg, png, rgb24")
    # A codec for each picture: state after a broken one must not reach the next.
    codec = av.CodecContext.create(_CODECS[encoding], "r")
    codec.options = {"max_pixels": str(MAX_PIXELS)}
    codec.thread_count = 1
    try:
        pictures = codec.decode(av.Packet(image)) if image else []
        pictures = pictures or codec.decode(None)
    except (av.FFmpegError, ValueError):
        pictures = []
    if not pictures:
        raise FrameError(
            f"{len(image)} bytes are not a picture in {encoding} of at most {MAX_PIXELS} pixels"
        )
    picture: av.VideoFrame = pictures[0]
    return picture


def _check_rgb24(image: bytes, height: int | None, width: int | None) -> None:
    if height is None or width is None or height < 1 or width < 1:
        raise FrameError(f"rgb24 needs a height and a width from 1, got {height} and {width}")
    if height * width > MAX_PIXELS:
        raise FrameError(f"{height} x {width} is more than {MAX_PIXELS} pixels")
    if len(image) != height * width * 3:
        raise FrameError(
            f"{height} x {width} in rgb24 takes {height * width * 3} bytes, got {len(image)}"
        )
