"""How a feed stands: its state and counts, for the thread that feeds and for those that ask."""

from __future__ import annotations

import threading

from streamvlm.capture.failures import error_of
from streamvlm.capture.waiting import WaitingCounts
from streamvlm.errors import SourceUnreachableError
from streamvlm.types import FeedStatus, SourceReport, SourceState, StreamTime

OVER = (SourceState.ENDED, SourceState.FAILED)
"""States that a source does not leave."""


class Standing:
    """Takes reports and progress; answers `status` and `wait_until_live` from any thread."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._has_changed = threading.Condition()
        self._report = SourceReport(state=SourceState.CONNECTING)
        self._first_failure: SourceReport | None = None
        self._num_lives = 0
        self._frames_decoded = self._frames_decoded_before = 0
        self._frames_sampled = self._frames_sampled_before = 0
        self.last_frame: StreamTime | None = None
        """The newest frame of all; set by the feeding thread."""

    @property
    def frames_sampled(self) -> int:
        """Frames sampled by all decoders together."""
        return self._frames_sampled

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

    def report(self, report: SourceReport) -> None:
        """The state changed, or an attempt failed."""
        with self._has_changed:
            self._report = report
            if report.state is SourceState.LIVE:
                self._num_lives += 1
            elif report.reason and self._first_failure is None:
                self._first_failure = report
            self._has_changed.notify_all()

    def end(self) -> None:
        """The feed was stopped; whoever waits need not wait any more."""
        if self._report.state not in OVER:
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
        """A snapshot."""
        with self._has_changed:
            return FeedStatus(
                state=self._report.state,
                reason=self._report.reason,
                message=self._report.message,
                frames_decoded=self._frames_decoded,
                frames_sampled=self._frames_sampled,
                clips_dropped=counts.clips_dropped,
                reconnects=max(0, self._num_lives - 1),
                gaps_total=counts.gaps_total,
                gap_seconds_total=counts.gap_seconds_total,
                clips_waiting=counts.clips_waiting,
                last_frame=self.last_frame,
            )

    def _was_live(self) -> bool:
        return self._num_lives > 0 or self._report.state is SourceState.ENDED
