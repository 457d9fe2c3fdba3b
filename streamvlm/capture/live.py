"""Pictures of an RTSP camera over TCP, reconnecting for ever."""

from __future__ import annotations

import gc
import logging
import struct
import threading
import time
from collections.abc import Iterator

import av

from streamvlm.capture.address import SourceAddress
from streamvlm.capture.backoff import Backoff
from streamvlm.capture.clock import Instant, Resume, StreamClock, span
from streamvlm.capture.failures import open_failure, read_failure
from streamvlm.capture.picture import Resizer
from streamvlm.capture.sampling import TimeSampler
from streamvlm.capture.source import PULSE_SECONDS, Pulse, SourceItem
from streamvlm.errors import SourceError, SourceFormatError, SourceStalledError
from streamvlm.types import (
    Frame,
    Gap,
    GridRule,
    SourceReport,
    SourceState,
    StreamTime,
)

logger = logging.getLogger(__name__)

# Long enough to find the size of the picture; longer only delays the first one.
_PROBE_MICROSECONDS = "300000"
_KEYFRAME_SECONDS = 60.0
"""How long a camera may send pictures that need a keyframe before it sends that keyframe."""


class LiveSource:
    """One camera. Any number of connections, one stream time; a `Gap` wherever it was blind.

    Never raises by itself: each failed attempt is a report RECONNECTING with its reason, and the
    next attempt follows. FFmpeg is closed by the iterating thread only: closing it while another
    one reads ends the process.
    """

    def __init__(
        self,
        stream_id: str,
        address: SourceAddress,
        *,
        fps: float,
        rule: GridRule,
        open_timeout_seconds: float,
        read_timeout_seconds: float,
        backoff: Backoff | None = None,
        resume: Resume | None = None,
    ) -> None:
        self.frames_decoded = 0
        self._stream_id = stream_id
        self._address = address
        self._open_timeout_seconds = open_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._frame_seconds = 1.0 / fps
        self._backoff = backoff or Backoff()
        self._closing = threading.Event()
        self._sampler = TimeSampler(fps)
        self._resizer = Resizer(rule)
        self._clock = StreamClock(resume)
        self._frame_index = resume.next_frame_index if resume else 0
        self._known_until = resume.known_until if resume else None
        self._blind_reason = resume.reason if resume else ""
        self._live_since_seconds: float | None = None
        self._heard_seconds = self._pictured_seconds = 0.0

    def close(self) -> None:
        """Make the iteration end at its next item, at the latest when the read timeout passes."""
        self._closing.set()

    def __iter__(self) -> Iterator[SourceItem]:
        if self._known_until is None:
            yield SourceReport(state=SourceState.CONNECTING)
        else:
            yield SourceReport(state=SourceState.RECONNECTING, reason=self._blind_reason)
        while not self._closing.is_set():
            self._live_since_seconds = None
            try:
                yield from self._connection()
            except SourceError as error:
                failure = error
            else:
                continue
            lived_seconds = 0.0
            if self._live_since_seconds is not None:
                lived_seconds = time.monotonic() - self._live_since_seconds
            wait_seconds = self._backoff.wait_seconds(failure, lived_seconds=lived_seconds)
            logger.info(
                "stream %s: %s; next attempt in %.1f s", self._stream_id, failure, wait_seconds
            )
            self._blind_reason = failure.reason
            yield SourceReport(
                state=SourceState.RECONNECTING, reason=failure.reason, message=str(failure)
            )
            yield from self._pause(wait_seconds)

    def _pause(self, seconds: float) -> Iterator[Pulse]:
        end_seconds = time.monotonic() + seconds
        while (left_seconds := end_seconds - time.monotonic()) > 0:
            if self._closing.wait(min(left_seconds, PULSE_SECONDS)):
                return
            yield Pulse()

    def _connection(self) -> Iterator[SourceItem]:
        """All pictures of one connection. Ends when closing; raises SourceError when it fails."""
        container = self._open()
        try:
            yield from self._pictures(container)
        finally:
            container.close()
            # A closed container's decoder hangs in reference cycles, about 1 MB each.
            gc.collect()

    def _open(self) -> av.container.InputContainer:
        began_seconds = time.monotonic()
        try:
            return av.open(
                self._address.location,
                options={
                    "rtsp_transport": "tcp",
                    "timeout": str(round(self._read_timeout_seconds * 1e6)),
                    "analyzeduration": _PROBE_MICROSECONDS,
                    "allowed_media_types": "video",
                    "user_agent": "streamvlm",
                },
                # FFmpeg's own timeout counts any byte as life, also RTCP without pictures.
                timeout=(self._open_timeout_seconds, self._read_timeout_seconds),
            )
        except av.FFmpegError as error:
            failure = open_failure(
                error,
                where=self._address.redacted,
                waited_seconds=time.monotonic() - began_seconds,
                limit_seconds=min(self._open_timeout_seconds, self._read_timeout_seconds),
            )
        # Outside the except block: FFmpeg's error quotes the URL and must not become its context.
        raise failure

    def _pictures(self, container: av.container.InputContainer) -> Iterator[SourceItem]:
        if not container.streams.video:
            raise SourceFormatError(f"{self._address}: there is no video in the stream")
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        self._clock.reconnect()
        self._heard_seconds = self._pictured_seconds = pulsed_seconds = time.monotonic()
        is_started = False
        for packet in self._packets(container, stream):
            if self._closing.is_set():
                return
            # Pictures before the first keyframe refer to pictures that nobody has: grey smear.
            if not is_started and packet.is_keyframe:
                is_started, self._pictured_seconds = True, self._heard_seconds
            for picture in self._decode(packet) if is_started else ():
                yield from self._take(picture)
            self._check_pictures(is_started)
            if self._heard_seconds - pulsed_seconds >= PULSE_SECONDS:
                pulsed_seconds = self._heard_seconds
                yield Pulse()

    def _check_pictures(self, is_started: bool) -> None:
        """Raise SourceStalledError where packets flow, and no picture comes of them."""
        waited_seconds = time.monotonic() - self._pictured_seconds
        limit_seconds, missing = self._open_timeout_seconds, "picture"
        if not is_started:
            limit_seconds, missing = max(limit_seconds, _KEYFRAME_SECONDS), "keyframe to start at"
        if waited_seconds > limit_seconds:
            raise SourceStalledError(
                f"{self._address}: data, but no {missing} for {waited_seconds:.1f} s"
            )

    def _packets(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.Packet]:
        """All packets; raises SourceError when the connection ends, as it always does one day."""
        problem: av.FFmpegError | None = None
        try:
            for packet in container.demux(stream):
                if not packet.size:
                    break
                self._heard_seconds = time.monotonic()
                yield packet
        except av.FFmpegError as error:
            problem = error
        failure = read_failure(
            problem,
            where=self._address.redacted,
            silent_seconds=time.monotonic() - self._heard_seconds,
            limit_seconds=self._read_timeout_seconds,
        )
        raise failure

    def _decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        """The pictures that this packet completes; none where it is damaged."""
        # The first packets may lack a PTS and are decoded all the same: pictures refer to them.
        if packet.pts is not None and packet.has_sidedata("prft"):
            # AVProducerReferenceTime: int64 microseconds of the camera's clock, int32 flags.
            (utc_microseconds,) = struct.unpack_from("<q", bytes(packet.get_sidedata("prft")))
            self._clock.camera_says(float(packet.pts * packet.time_base), utc_microseconds / 1e6)
        try:
            pictures: list[av.VideoFrame] = packet.decode()
        except av.FFmpegError as error:
            logger.debug("stream %s: a packet is skipped: %s", self._stream_id, error.strerror)
            return []
        return pictures

    def _take(self, picture: av.VideoFrame) -> Iterator[SourceItem]:
        """Place a picture in stream time; give it, resized, if it is one to be sampled."""
        self.frames_decoded += 1
        if picture.pts is None:
            return
        self._pictured_seconds = self._heard_seconds
        stream_time = self._clock.at(float(picture.pts * picture.time_base), Instant.now())
        if not self._sampler.wants(stream_time.pts_seconds):
            return
        if self._live_since_seconds is None:
            self._live_since_seconds = time.monotonic()
            yield SourceReport(state=SourceState.LIVE)
            if self._known_until is not None:
                yield _gap(self._known_until, stream_time, self._blind_reason)
        elif self._known_until is not None and self._has_hole(self._known_until, stream_time):
            yield _gap(self._known_until, stream_time, SourceStalledError.reason)
        self._known_until = stream_time.later(self._frame_seconds)
        pixels = self._resizer.pixels(picture)
        yield Frame(pixels=pixels, time=stream_time, frame_index=self._frame_index)
        self._frame_index += 1

    def _has_hole(self, known_until: StreamTime, now: StreamTime) -> bool:
        """Whether pictures were missing for long although the connection lasted."""
        last_seconds = known_until.pts_seconds - self._frame_seconds
        limit_seconds = max(5 * self._frame_seconds, self._read_timeout_seconds)
        return now.pts_seconds - last_seconds > limit_seconds


def _gap(known_until: StreamTime, now: StreamTime, reason: str) -> Gap:
    start = min(known_until, now, key=lambda instant: instant.pts_seconds)
    return Gap(interval=span(start, now), reason=reason)
