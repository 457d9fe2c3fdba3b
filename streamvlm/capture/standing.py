"""How a feed stands: its state and counts, for the thread that feeds and for those that ask."""

from __future__ import annotations

import threading
import time

from streamvlm.capture.failures import error_of
from streamvlm.capture.waiting import WaitingCounts
from streamvlm.errors import SourceStalledError, SourceUnreachableError
from streamvlm.types import (
    Clip,
    FeedStatus,
    Gap,
    Interval,
    SourceReport,
    SourceState,
    StreamTime,
)

OVER = (SourceState.ENDED, SourceState.FAILED)
"""States that a source does not leave."""


class Standing:
    """Takes reports and progress; answers `status` and `wait_until_live` from any thread.

    Without pictures for longer than `patience_seconds`, which must exceed `frame_seconds`, the
    stream is blind; None: it never is.
    """

    def __init__(self, where: str, *, frame_seconds: float, patience_seconds: float | None) -> None:
        self._where = where
        self._frame_seconds = frame_seconds
        self._patience_seconds = patience_seconds
        self._has_changed = threading.Condition()
        self._report = SourceReport(state=SourceState.CONNECTING)
        self._first_failure: SourceReport | None = None
        self._num_lives = 0
        self._frames_decoded = self._frames_decoded_before = 0
        self._frames_sampled = self._frames_sampled_before = 0
        self._last_frame: StreamTime | None = None
        self._newest: StreamTime | None = None
        self._known_until: StreamTime | None = None
        self._noted_seconds = 0.0

    @property
    def frames_sampled(self) -> int:
        """Frames sampled by all decoders together."""
        return self._frames_sampled

    @property
    def last_frame(self) -> StreamTime | None:
        """The newest frame of all."""
        return self._last_frame

    @property
    def newest(self) -> StreamTime | None:
        """The newest frame, or the end of a gap after it."""
        return self._newest

    @property
    def known_until(self) -> StreamTime | None:
        """Where the newest clip or gap ends."""
        return self._known_until

    def begin_decoder(self) -> None:
        """Another decoder starts to count from 0."""
        with self._has_changed:
            self._frames_decoded_before = self._frames_decoded
            self._frames_sampled_before = self._frames_sampled

    def advance(self, frames_decoded: int, frames_sampled: int) -> None:
        """What the present decoder has done so far."""
        with self._has_changed:
            self._frames_decoded = self._frames_decoded_before + frames_decoded
            self._frames_sampled = self._frames_sampled_before + frames_sampled

    def note(self, item: Clip | Gap) -> None:
        """A clip or a gap came just now."""
        if isinstance(item, Clip):
            self.note_frame(item.times[-1])
            return
        with self._has_changed:
            self._newest = self._known_until = item.interval.end
            self._noted_seconds = time.monotonic()

    def note_frame(self, last_frame: StreamTime) -> None:
        """A frame came just now, the newest of all."""
        with self._has_changed:
            self._last_frame = self._newest = last_frame
            self._known_until = last_frame.later(self._frame_seconds)
            self._noted_seconds = time.monotonic()

    def report(self, report: SourceReport) -> None:
        """The state changed, or an attempt failed. Once over, nothing changes it any more."""
        with self._has_changed:
            if self._report.state in OVER:
                return
            self._report = report
            if report.state is SourceState.LIVE:
                self._num_lives += 1
            elif report.reason and self._first_failure is None:
                self._first_failure = report
            self._has_changed.notify_all()

    def end(self) -> None:
        """The feed was stopped; whoever waits need not wait any more."""
        self.report(SourceReport(state=SourceState.ENDED))

    def wait_until_live(self, timeout_seconds: float) -> None:
        """Return once live or ended. Raises the first failure; SourceUnreachableError when late."""
        with self._has_changed:
            self._has_changed.wait_for(
                lambda: self._was_live() or self._first_failure is not None, timeout_seconds
            )
            if self._was_live():
                return
            failure = self._first_failure
        if failure is not None:
            raise error_of(failure.reason, failure.message)
        raise SourceUnreachableError(f"{self._where}: no picture within {timeout_seconds:g} s")

    def status(self, counts: WaitingCounts) -> FeedStatus:
        """A snapshot; an outage that goes on is counted like the gap it will be."""
        with self._has_changed:
            blind = self._blind()
            return FeedStatus(
                state=self._report.state,
                reason=self._report.reason,
                message=self._report.message,
                frames_decoded=self._frames_decoded,
                frames_sampled=self._frames_sampled,
                clips_dropped=counts.clips_dropped,
                reconnects=max(0, self._num_lives - 1),
                gaps_total=counts.gaps_total + (blind is not None),
                gap_seconds_total=counts.gap_seconds_total
                + (blind.interval.duration_seconds if blind else 0.0),
                clips_waiting=counts.clips_waiting,
                last_frame=self._last_frame,
                blind=blind,
            )

    def _blind(self) -> Gap | None:
        """The outage that goes on, or None."""
        if self._patience_seconds is None or self._newest is None or self._known_until is None:
            return None
        silent_seconds = time.monotonic() - self._noted_seconds
        if self._report.state in OVER or silent_seconds <= self._patience_seconds:
            return None
        return Gap(
            interval=Interval(start=self._known_until, end=self._newest.later(silent_seconds)),
            reason=self._report.reason or SourceStalledError.reason,
        )

    def _was_live(self) -> bool:
        return self._num_lives > 0 or self._report.state is SourceState.ENDED
