"""A stream's pictures as the engine sees them: clips and gaps that it takes when it can."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from streamvlm.capture.address import SourceAddress, SourceKind
from streamvlm.capture.backoff import Backoff
from streamvlm.capture.clock import Resume
from streamvlm.capture.decoder import STOP_SECONDS, DecoderJob, Message, Progress
from streamvlm.capture.process import DecoderProcess
from streamvlm.capture.standing import OVER, Standing
from streamvlm.capture.waiting import WaitingClips
from streamvlm.errors import SourceError, SourceLostError
from streamvlm.types import Clip, FeedStatus, Gap, GridRule, SourceReport, SourceState

logger = logging.getLogger(__name__)

_LEAST_SILENCE_SECONDS = 10.0
_LEAST_BLIND_SECONDS = 2.0
_FILE_SILENCE_SECONDS = 60.0
"""Opening a long file reads all of it once."""


class Feed:
    """One source, decoded in a process of its own that is watched and replaced.

    When the engine is late, a camera's clips are dropped, oldest first; a file waits. A decoder
    that dies or falls silent is started anew for a camera; for a file it is the end.
    """

    def __init__(
        self,
        stream_id: str,
        address: SourceAddress,
        *,
        fps: float,
        rule: GridRule,
        queue_clips: int,
        open_timeout_seconds: float,
        read_timeout_seconds: float,
        backoff: Backoff | None = None,
    ) -> None:
        self._backoff = backoff or Backoff()
        self._job = DecoderJob(
            stream_id=stream_id,
            address=address,
            fps=fps,
            rule=rule,
            open_timeout_seconds=open_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
            backoff=self._backoff,
            log_level=logger.getEffectiveLevel(),
        )
        self._is_live = address.kind is SourceKind.RTSP
        self._silence_seconds = _silence_limit_seconds(self._job)
        self._waiting = WaitingClips(queue_clips)
        self._standing = Standing(
            str(address),
            frame_seconds=1 / fps,
            patience_seconds=max(5 / fps, _LEAST_BLIND_SECONDS) if self._is_live else None,
        )
        self._wake: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._supervise, name=f"feed {stream_id}", daemon=True
        )
        self._decoder: DecoderProcess | None = None
        self._decoder_lock = threading.Lock()
        self._began_monotonic_seconds = math.inf
        self._next_clip_index = 0

    def start(self, wake: Callable[[], None]) -> None:
        """Begin. `wake` is called on another thread when something can be taken or all is over."""
        self._wake = wake
        self._thread.start()

    def wait_until_live(self, timeout_seconds: float) -> None:
        """Return when pictures arrive or the source has ended.

        Raises the SourceError of the first failed attempt, SourceUnreachableError at the timeout.
        """
        self._standing.wait_until_live(timeout_seconds)

    def take(self) -> Clip | Gap | None:
        """The oldest clip or gap, or None; never waits."""
        return self._waiting.take()

    def status(self) -> FeedStatus:
        """How the source is doing; safe from any thread."""
        return self._standing.status(self._waiting.counts())

    @property
    def decoder_process_id(self) -> int | None:
        """Of the operating system; None while no decoder runs."""
        with self._decoder_lock:
            return self._decoder.process_id if self._decoder else None

    def stop(self) -> None:
        """End the decoder, at the latest after a grace of 2 s. What waits can still be taken.

        May be called again, but neither from `wake` nor holding a lock that `wake` needs.
        """
        self.ask_to_stop()
        if not self._thread.is_alive():
            return
        self._thread.join(STOP_SECONDS)
        with self._decoder_lock:
            if self._decoder is not None:
                self._decoder.kill()
        self._thread.join()

    def ask_to_stop(self) -> None:
        """Begin to end without waiting, so that many feeds end together; `stop` completes it."""
        self._stopping.set()
        self._waiting.close()
        with self._decoder_lock:
            if self._decoder is not None:
                self._decoder.ask_to_stop()
        self._standing.end()

    def _supervise(self) -> None:
        """Run decoders until the source is over or the feed is stopped."""
        resume: Resume | None = None
        while True:
            began_seconds = time.monotonic()
            failure = self._run_decoder(resume)
            if self._stopping.is_set() or failure is None:
                return
            logger.error("stream %s: %s", self._job.stream_id, failure)
            state = SourceState.RECONNECTING if self._is_live else SourceState.FAILED
            self._note(SourceReport(state=state, reason=failure.reason, message=str(failure)))
            lived_seconds = time.monotonic() - began_seconds
            if not self._is_live or self._stopping.wait(
                self._backoff.wait_seconds(failure, lived_seconds=lived_seconds)
            ):
                return
            resume = self._resume(failure)

    def _run_decoder(self, resume: Resume | None) -> SourceError | None:
        """One decoder, start to end; its failure, or None where it ended as it should."""
        self._standing.begin_decoder()
        try:
            decoder = DecoderProcess(replace(self._job, resume=resume))
        except SourceLostError as error:
            return error
        with self._decoder_lock:
            self._decoder = decoder
            if self._stopping.is_set():
                decoder.kill()
        try:
            while self._is_live or self._waiting.wait_for_room():
                message = decoder.receive(self._silence_seconds)
                self._accept(message)
                if isinstance(message, SourceReport) and message.state in OVER:
                    return None
            return None
        except SourceError as error:
            return error if self._is_live else SourceLostError(str(error))
        finally:
            with self._decoder_lock:
                self._decoder = None
            decoder.close()

    def _accept(self, message: Message) -> None:
        if isinstance(message, SourceReport):
            self._note(message)
        elif isinstance(message, logging.LogRecord):
            logging.getLogger(message.name).handle(message)
        elif isinstance(message, Progress):
            self._standing.advance(message.frames_decoded, message.frames_sampled)
        else:
            self._note_item(message)
            self._waiting.put(message)
            self._wake()

    def _note(self, report: SourceReport) -> None:
        level = logging.WARNING if report.reason else logging.INFO
        said = f"{report.state.value}: {report.message}" if report.message else report.state.value
        logger.log(level, "stream %s is %s", self._job.stream_id, said)
        self._standing.report(report)
        if report.state in OVER:
            self._wake()

    def _note_item(self, item: Clip | Gap) -> None:
        newest = item.interval.end
        if isinstance(item, Clip):
            self._next_clip_index = item.clip_index + 1
            newest = item.times[-1]
        # The item that took least time on its way tells best when the stream began.
        self._began_monotonic_seconds = min(
            self._began_monotonic_seconds, time.monotonic() - newest.pts_seconds
        )
        self._standing.note(item)

    def _resume(self, failure: SourceError) -> Resume | None:
        """Where the next decoder takes over; None where no picture came yet."""
        last, known_until = self._standing.newest, self._standing.known_until
        if last is None or known_until is None:
            return None
        return Resume(
            began_monotonic_seconds=self._began_monotonic_seconds,
            last=last,
            known_until=known_until,
            reason=failure.reason,
            next_frame_index=self._standing.frames_sampled,
            next_clip_index=self._next_clip_index,
        )


def _silence_limit_seconds(job: DecoderJob) -> float:
    """How long a decoder may say nothing; for a camera's, longer than any timeout of its own."""
    if job.address.kind is not SourceKind.RTSP:
        return max(_FILE_SILENCE_SECONDS, 5 / job.fps)
    longest_wait_seconds = job.open_timeout_seconds + 2 * job.read_timeout_seconds
    return max(_LEAST_SILENCE_SECONDS, 5 / job.fps, 1.5 * longest_wait_seconds)
