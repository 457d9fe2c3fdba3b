"""A stream's clips in the worker, as ingest brings them: what the engine takes, from any thread.

Ingest may start anew, and its clock and counts with it; the stream's own go on. It may send again
what it does not know to have arrived; nothing is taken in twice.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from streamvlm.errors import SourceLostError
from streamvlm.gaps import RESTARTED
from streamvlm.remember import Snapshot
from streamvlm.types import Clip, FeedStatus, Gap, Interval, Run, SourceState, StreamTime

INGEST_LOST = "INGEST_LOST"
"""`FeedStatus.reason` while no ingest brings the stream's clips."""

_OVER = (SourceState.ENDED, SourceState.FAILED)
_PATIENCE_SECONDS = 2.0
"""A shorter silence between two runs is no gap."""


@dataclass(frozen=True, slots=True)
class _Shift:
    """From the times and counts of a run to those of the stream."""

    seconds: float = 0.0
    clips: int = 0

    def time(self, time: StreamTime) -> StreamTime:
        return replace(time, pts_seconds=time.pts_seconds + self.seconds)

    def interval(self, interval: Interval) -> Interval:
        return Interval(start=self.time(interval.start), end=self.time(interval.end))

    def item(self, item: Clip | Gap) -> Clip | Gap:
        if isinstance(item, Gap):
            return replace(item, interval=self.interval(item.interval))
        times = tuple(map(self.time, item.times))
        return replace(item, clip_index=item.clip_index + self.clips, times=times)

    def status(self, status: FeedStatus) -> FeedStatus:
        blind, last = status.blind, status.last_frame
        return replace(
            status,
            blind=replace(blind, interval=self.interval(blind.interval)) if blind else None,
            last_frame=self.time(last) if last else None,
        )


class CarriedFeed:
    """About `window` items of ingest wait in it: more come only when some were taken."""

    def __init__(self, window: int, resumed: Snapshot | None = None) -> None:
        """Of a stream that begins, or goes on where its snapshot was taken."""
        self.window = window
        self._lock = threading.Lock()
        self._items: deque[tuple[Clip | Gap, int]] = deque()
        """With how many of ingest's items each is."""
        self._status = FeedStatus(state=SourceState.CONNECTING)
        self._run_id = ""
        self._shift: _Shift | None = _Shift()
        """None until the first item of a new run."""
        self._newest: StreamTime | None = None
        """End of the newest item."""
        self._next_clip_index = 0
        self._lost_reason: str | None = None
        """Why nobody saw what lies before the next item; None where it follows the newest one."""
        if resumed:
            self._resume(resumed)
        self._num_taken = 0
        self._on_taken: Callable[[], None] = lambda: None
        self._unlinked_monotonic_seconds: float | None = None

    def link(self, run_id: str, on_taken: Callable[[], None]) -> None:
        """Ingest is there; `on_taken` hears, on any thread, when `taken` has something to tell."""
        with self._lock:
            if self._run_id not in ("", run_id) and self._newest:
                self._shift = None
                self._lost_reason = self._lost_reason or SourceLostError.reason
            self._run_id, self._on_taken = run_id, on_taken
            self._unlinked_monotonic_seconds = None
            # What still waits comes again, and counts when it does.
            self._items = deque((item, 0) for item, _ in self._items)
            self._num_taken = 0

    def unlink(self) -> None:
        """Ingest is gone: nobody sees the stream from now on."""
        with self._lock:
            self._on_taken = lambda: None
            self._unlinked_monotonic_seconds = time.monotonic()

    def note(self, status: FeedStatus) -> None:
        """How the source is doing."""
        with self._lock:
            self._status = status

    def put(self, item: Clip | Gap) -> None:
        """One more of the run. One that was there before is not taken in again."""
        with self._lock:
            if self._shift is None:
                self._shift = self._begin_run(item)
            item = self._shift.item(item)
            if not self._is_known(item):
                self._note_lost(item.interval.start)
                self._append(item, 1)
                return
            self._num_taken += 1
            on_taken = self._on_taken
        on_taken()

    def taken(self) -> int:
        """How many of ingest's items were taken since the last call."""
        with self._lock:
            number, self._num_taken = self._num_taken, 0
        return number

    def take(self) -> Clip | Gap | None:
        """The oldest clip or gap, or None; never waits."""
        with self._lock:
            if not self._items:
                return None
            item, number = self._items.popleft()
            self._num_taken += number
            on_taken = self._on_taken
        on_taken()
        return item

    def status(self) -> FeedStatus:
        """How the source is doing, in the stream's own time."""
        with self._lock:
            status = self._status
            if self._shift is not None:
                status = self._shift.status(status)
            waiting = sum(isinstance(item, Clip) for item, _ in self._items)
            status = replace(status, clips_waiting=status.clips_waiting + waiting, run=self._run())
            if self._unlinked_monotonic_seconds is None or status.state in _OVER:
                return status
            silent_seconds = time.monotonic() - self._unlinked_monotonic_seconds
            blind = None
            if self._newest and silent_seconds > _PATIENCE_SECONDS:
                span = Interval(start=self._newest, end=self._newest.later(silent_seconds))
                blind = Gap(interval=span, reason=INGEST_LOST)
            return replace(
                status,
                state=SourceState.RECONNECTING,
                reason=INGEST_LOST,
                message="nobody reads the source; waiting for an ingest",
                blind=blind,
            )

    def stop(self) -> None:
        """Nothing is held that would have to be freed."""

    def _begin_run(self, first: Clip | Gap) -> _Shift:
        """Where the run begins in the stream."""
        assert self._newest is not None
        start = first.interval.start
        seconds = max(0.0, start.utc_seconds - self._newest.utc_seconds)
        shift = _Shift(seconds=self._newest.pts_seconds + seconds - start.pts_seconds)
        if isinstance(first, Clip):
            shift = replace(shift, clips=self._next_clip_index - first.clip_index)
        return shift

    def _note_lost(self, start: StreamTime) -> None:
        """What nobody saw before an item that begins then is a gap."""
        reason, self._lost_reason = self._lost_reason, None
        if reason is None or self._newest is None:
            return
        if start.pts_seconds - self._newest.pts_seconds > _PATIENCE_SECONDS:
            self._append(Gap(interval=Interval(start=self._newest, end=start), reason=reason), 0)

    def _resume(self, snapshot: Snapshot) -> None:
        self._newest, self._next_clip_index = snapshot.seen_until, snapshot.next_clip_index
        self._run_id, self._lost_reason = snapshot.run.run_id, RESTARTED
        self._shift = None
        if snapshot.run.is_placed:
            self._shift = _Shift(snapshot.run.shift_seconds, snapshot.run.shift_clips)

    def _run(self) -> Run:
        shift = self._shift or _Shift()
        return Run(
            run_id=self._run_id,
            is_placed=self._shift is not None,
            shift_seconds=shift.seconds,
            shift_clips=shift.clips,
        )

    def _is_known(self, item: Clip | Gap) -> bool:
        if isinstance(item, Clip):
            return item.clip_index < self._next_clip_index
        end = item.interval.end.pts_seconds
        return self._newest is not None and end <= self._newest.pts_seconds

    def _append(self, item: Clip | Gap, number: int) -> None:
        self._items.append((item, number))
        self._newest = item.interval.end
        if isinstance(item, Clip):
            self._next_clip_index = item.clip_index + 1
