"""The decoder process of one stream: source -> sampled, resized frames -> clips -> pipe.

Started by `process`. Loads neither torch nor anything of the engine.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from streamvlm.capture.address import SourceAddress, SourceKind
from streamvlm.capture.backoff import Backoff
from streamvlm.capture.clock import Resume
from streamvlm.capture.sampling import ClipAssembler
from streamvlm.capture.source import FrameSource, Pulse
from streamvlm.errors import SourceAddressError, SourceError
from streamvlm.types import Clip, Frame, Gap, GridRule, SourceReport, SourceState

STOP_SECONDS = 2.0
"""How long a decoder may take to close its source once it is told to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderJob:
    """All that a decoder process is told."""

    stream_id: str
    address: SourceAddress
    fps: float
    rule: GridRule
    open_timeout_seconds: float
    read_timeout_seconds: float
    backoff: Backoff
    resume: Resume | None = None
    log_level: int = logging.WARNING


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a decoder is; also its sign of life."""

    frames_decoded: int
    frames_sampled: int


Message = Clip | Gap | SourceReport | Progress | logging.LogRecord


class _ToParent(logging.handlers.QueueHandler):
    """Log lines go to the parent, which has one format and one place for them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(queue=None)  # type: ignore[arg-type]
        self._connection = connection

    def enqueue(self, record: logging.LogRecord) -> None:
        """Send a record that `prepare` has made fit to travel."""
        with suppress(OSError):
            self._connection.send(record)


def open_source(job: DecoderJob) -> FrameSource:
    """The source for an address. Raises SourceAddressError for a synthetic one that is wrong."""
    # Each source loads its library only here: a camera's process needs no decord.
    kind, address = job.address.kind, job.address
    if kind is SourceKind.RTSP:
        from streamvlm.capture.live import LiveSource

        return LiveSource(
            job.stream_id,
            address,
            fps=job.fps,
            rule=job.rule,
            open_timeout_seconds=job.open_timeout_seconds,
            read_timeout_seconds=job.read_timeout_seconds,
            backoff=job.backoff,
            resume=job.resume,
        )
    if kind is SourceKind.FILE:
        from streamvlm.capture.file import FileSource

        return FileSource(job.stream_id, address, fps=job.fps, rule=job.rule)
    if kind is SourceKind.SYNTHETIC:
        from streamvlm.capture.synthetic import SyntheticSource

        return SyntheticSource(address, fps=job.fps, rule=job.rule)
    raise SourceAddressError(f"{address} is not read by a decoder process")


def messages(job: DecoderJob, source: FrameSource) -> Generator[Message, None, None]:
    """All that a source gives, as clips. Ends with a report ENDED or FAILED unless closed."""
    next_clip_index = job.resume.next_clip_index if job.resume else 0
    assembler = ClipAssembler(job.stream_id, job.fps, first_clip_index=next_clip_index)
    frames_sampled = 0
    try:
        for item in source:
            frames_sampled += isinstance(item, Frame)
            # Before the item itself: whoever takes a clip finds its frames counted.
            yield Progress(source.frames_decoded, frames_sampled)
            if isinstance(item, Frame):
                yield from assembler.add(item)
            elif not isinstance(item, Pulse):
                if isinstance(item, Gap) or item.state is not SourceState.LIVE:
                    yield from assembler.flush()
                yield item
    except SourceError as error:
        yield from assembler.flush()
        yield SourceReport(state=SourceState.FAILED, reason=error.reason, message=str(error))


def _run(job: DecoderJob, connection: Connection) -> None:
    try:
        source = open_source(job)
    except SourceError as error:
        connection.send(
            SourceReport(state=SourceState.FAILED, reason=error.reason, message=str(error))
        )
        return
    threading.Thread(target=_stop_when_told, args=(connection, source), daemon=True).start()
    with closing(messages(job, source)) as outgoing:
        for message in outgoing:
            connection.send(message)


def _stop_when_told(connection: Connection, source: FrameSource) -> None:
    """Wait for the parent's word, or its death; then end, whatever the decoder is stuck in."""
    with suppress(EOFError, OSError):
        connection.recv_bytes()
    source.close()
    time.sleep(STOP_SECONDS)
    os._exit(0)


def main() -> None:
    """Serve the parent at the other end of the pipe until the source ends or the parent does."""
    # Ctrl-C reaches the whole group of processes; the parent decides when a decoder stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    # A broken pipe is the parent's death, or its way to stop us: there is nobody left to tell.
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        job: DecoderJob = connection.recv()
        logging.basicConfig(
            level=job.log_level, format="%(message)s", handlers=[_ToParent(connection)]
        )
        _run(job, connection)
