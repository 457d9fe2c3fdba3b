"""Pictures of a video file: decord where it can, PyAV where it cannot."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import av
import decord

from streamvlm.capture.address import SourceAddress
from streamvlm.capture.picture import Resizer
from streamvlm.capture.sampling import TimeSampler
from streamvlm.capture.source import SourceItem
from streamvlm.errors import SourceFormatError, SourceNotFoundError
from streamvlm.types import (
    ClockSource,
    Frame,
    GridRule,
    SourceReport,
    SourceState,
    StreamTime,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

decord.logging.set_level(decord.logging.QUIET)

CREATION_ERROR_SECONDS = 1.0
"""A creation time is written in whole seconds."""
MODIFICATION_ERROR_SECONDS = 86_400.0
"""Without one, the file's modification time stands in; copying and editing change it."""
_MAX_BATCH_BYTES = 32 * 2**20
_MAX_BATCH_FRAMES = 16


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the file says about itself."""

    height: int
    width: int
    duration_seconds: float | None
    begin: StreamTime


class FileSource:
    """One file, from its first frame to its last. Stream time 0 is the first frame.

    Raises SourceNotFoundError where there is none, SourceFormatError where no picture can be
    decoded. A file that is cut short or damaged gives what it has; its last report says so.
    """

    def __init__(
        self, stream_id: str, address: SourceAddress, *, fps: float, rule: GridRule
    ) -> None:
        self.frames_decoded = 0
        self._stream_id = stream_id
        # Absolute: FFmpeg takes what stands before a colon in a relative name for a protocol.
        self._path = Path(address.location).absolute()
        self._name = address.redacted
        self._fps = fps
        self._resizer = Resizer(rule)
        self._closing = threading.Event()
        self._frame_index = 0
        self._end_seconds = -1.0

    def close(self) -> None:
        """Make the iteration end at its next item."""
        self._closing.set()

    def __iter__(self) -> Iterator[SourceItem]:
        facts = self._probe()
        yield SourceReport(state=SourceState.LIVE)
        try:
            yield from self._by_decord(facts)
        except (decord.DECORDError, RuntimeError) as error:
            # Also in the middle of a file: what decord gave is not given again.
            logger.warning(
                "stream %s: decord cannot read %s (%s); PyAV takes over",
                self._stream_id,
                self._name,
                str(error).strip().splitlines()[0],
            )
            yield from self._by_av(facts)
        if self._closing.is_set():
            return
        if self._frame_index == 0:
            raise SourceFormatError(f"{self._name}: no picture can be decoded")
        yield self._ending(facts)

    def _ending(self, facts: _Facts) -> SourceReport:
        duration_seconds = facts.duration_seconds
        # A container's duration may include a longer sound track; a second is nothing to report.
        if duration_seconds is None or self._end_seconds > duration_seconds - 1.0:
            return SourceReport(state=SourceState.ENDED)
        message = (
            f"{self._name} is cut short or damaged: pictures until {self._end_seconds:.1f} s "
            f"of {duration_seconds:.1f} s"
        )
        return SourceReport(
            state=SourceState.ENDED, reason=SourceFormatError.reason, message=message
        )

    def _probe(self) -> _Facts:
        """Open the file and decode its first picture."""
        try:
            self._path.stat()
        except (OSError, ValueError) as error:
            # No such file, a name that is too long, a folder that may not be entered.
            why = getattr(error, "strerror", None) or "the name is impossible"
            raise SourceNotFoundError(f"{self._name}: there is no such file ({why})") from None
        if not self._path.is_file():
            raise SourceFormatError(f"{self._name} is not a file")
        try:
            with av.open(str(self._path)) as container:
                picture = next(container.decode(video=0))
                self._resizer.pixels(picture)
                return _facts(container, picture, self._path)
        except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
            why = getattr(error, "strerror", None) or "it holds no picture"
        raise SourceFormatError(f"{self._name} is not video that can be decoded: {why}")

    def _by_decord(self, facts: _Facts) -> Iterator[Frame]:
        try:
            reader = decord.VideoReader(str(self._path), ctx=decord.cpu(0), num_threads=1)
        except AssertionError as error:
            # Its way to say that it counts no frames, where PyAV has just decoded one.
            raise decord.DECORDError(str(error)) from error
        sampler = TimeSampler(self._fps)
        times_seconds = _times_seconds(reader)
        wanted = ((i, float(t)) for i, t in enumerate(times_seconds) if sampler.wants(float(t)))
        frame_bytes = facts.height * facts.width * 3
        batch_frames = max(1, min(_MAX_BATCH_FRAMES, _MAX_BATCH_BYTES // frame_bytes))
        while batch := list(islice(wanted, batch_frames)):
            pictures = reader.get_batch([index for index, _ in batch]).asnumpy()
            self.frames_decoded = batch[-1][0] + 1
            for (_, pts_seconds), pixels in zip(batch, pictures, strict=True):
                if self._closing.is_set():
                    return
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                yield self._frame(picture, facts.begin.later(pts_seconds))
        self.frames_decoded = len(reader)
        self._end_seconds = float(times_seconds[-1])

    def _by_av(self, facts: _Facts) -> Iterator[Frame]:
        sampler = TimeSampler(self._fps)
        given_seconds = self._end_seconds
        first_seconds: float | None = None
        self.frames_decoded = 0
        with closing(av.open(str(self._path))) as container:
            for picture in self._decoded(container):
                self.frames_decoded += 1
                if picture.pts is None:
                    continue
                source_seconds = float(picture.pts * picture.time_base)
                if first_seconds is None:
                    first_seconds = source_seconds
                pts_seconds = source_seconds - first_seconds
                self._end_seconds = max(self._end_seconds, pts_seconds)
                if sampler.wants(pts_seconds) and pts_seconds > given_seconds:
                    yield self._frame(picture, facts.begin.later(pts_seconds))
                if self._closing.is_set():
                    return

    def _decoded(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """Every picture that can be decoded; damaged packets are skipped."""
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        try:
            for packet in container.demux(stream):
                try:
                    pictures = packet.decode()
                except av.error.InvalidDataError:
                    logger.debug("stream %s: a damaged packet is skipped", self._stream_id)
                    continue
                yield from pictures
        except av.FFmpegError as error:
            logger.warning(
                "stream %s: %s ends early: %s", self._stream_id, self._name, error.strerror
            )

    def _frame(self, picture: av.VideoFrame, time: StreamTime) -> Frame:
        frame = Frame(
            pixels=self._resizer.pixels(picture), time=time, frame_index=self._frame_index
        )
        self._frame_index += 1
        self._end_seconds = max(self._end_seconds, time.pts_seconds)
        return frame


def _times_seconds(reader: decord.VideoReader) -> NDArray[np.float32]:
    """When each frame begins, [frames]: 4 bytes a frame, 360 kB for an hour at 25 fps."""
    intervals = reader.get_frame_timestamp(range(len(reader)))  # [frames, start and end]
    times_seconds: NDArray[np.float32] = intervals[:, 0] - intervals[0, 0]
    return times_seconds


def _facts(container: av.container.InputContainer, picture: av.VideoFrame, path: Path) -> _Facts:
    duration_seconds = container.duration / av.time_base if container.duration else None
    begin_utc_seconds, error_seconds = _begin_utc(container, path, duration_seconds or 0.0)
    begin = StreamTime(
        pts_seconds=0.0,
        utc_seconds=begin_utc_seconds,
        clock=ClockSource.FILE,
        clock_error_seconds=error_seconds,
    )
    return _Facts(picture.height, picture.width, duration_seconds, begin)


def _begin_utc(
    container: av.container.InputContainer, path: Path, duration_seconds: float
) -> tuple[float, float]:
    """UTC of the first frame, and how far it may be off."""
    text = container.metadata.get("creation_time", "")
    try:
        created = datetime.fromisoformat(text)
    except ValueError:
        return path.stat().st_mtime - duration_seconds, MODIFICATION_ERROR_SECONDS
    if created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    return created.timestamp(), CREATION_ERROR_SECONDS
