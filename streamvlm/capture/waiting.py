"""Clips and gaps of one stream that wait for the engine."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from streamvlm.types import Clip, Gap, Interval

ENGINE_LATE = "ENGINE_LATE"
"""`Gap.reason` of clips that were thrown away because the engine was late."""


class WaitingCounts(NamedTuple):
    """A snapshot of a `WaitingClips`."""

    clips_waiting: int
    clips_dropped: int
    gaps_total: int
    gap_seconds_total: float


class WaitingClips:
    """A bounded queue that never blocks whoever fills it; safe to use from several threads.

    Holds at most `max_clips` clips and, since two gaps in a row become one, at most one gap more.
    """

    def __init__(self, max_clips: int) -> None:
        self._max_clips = max_clips
        self._items: deque[Clip | Gap] = deque()
        self._clips_waiting = 0
        self._clips_dropped = 0
        self._gaps_taken = 0
        self._gap_seconds_taken = 0.0
        self._is_closed = False
        self._has_changed = threading.Condition()

    def put(self, item: Clip | Gap) -> None:
        """Append. Where that is one clip too many, the oldest one becomes a gap ENGINE_LATE."""
        with self._has_changed:
            if isinstance(item, Gap):
                if self._items and isinstance(self._items[-1], Gap):
                    item = _joined(self._items.pop(), item)
                self._items.append(item)
                return
            self._items.append(item)
            self._clips_waiting += 1
            if self._clips_waiting > self._max_clips:
                self._drop_oldest()

    def take(self) -> Clip | Gap | None:
        """The oldest clip or gap; None where nothing waits."""
        with self._has_changed:
            if not self._items:
                return None
            item = self._items.popleft()
            if isinstance(item, Gap):
                self._gaps_taken += 1
                self._gap_seconds_taken += item.interval.duration_seconds
            else:
                self._clips_waiting -= 1
                self._has_changed.notify_all()
            return item

    def wait_for_room(self) -> bool:
        """Return True when a clip can be put without loss, False when closed."""
        with self._has_changed:
            self._has_changed.wait_for(
                lambda: self._is_closed or self._clips_waiting < self._max_clips
            )
            return not self._is_closed

    def close(self) -> None:
        """Let nobody wait for room any more. What waits can still be taken."""
        with self._has_changed:
            self._is_closed = True
            self._has_changed.notify_all()

    def counts(self) -> WaitingCounts:
        """What waits and what was lost, gaps that nobody took yet included."""
        with self._has_changed:
            gaps = [item for item in self._items if isinstance(item, Gap)]
            return WaitingCounts(
                clips_waiting=self._clips_waiting,
                clips_dropped=self._clips_dropped,
                gaps_total=self._gaps_taken + len(gaps),
                gap_seconds_total=self._gap_seconds_taken
                + sum(gap.interval.duration_seconds for gap in gaps),
            )

    def _drop_oldest(self) -> None:
        """Turn the head of the queue up to the end of the oldest clip into one gap.

        [gap] clip [gap] clip ...  ->  gap clip ...
        """
        head = self._items.popleft()
        before = head if isinstance(head, Gap) else None
        clip = self._items.popleft() if isinstance(head, Gap) else head
        assert not isinstance(clip, Gap), "two gaps in a row"
        late = Gap(interval=clip.interval, reason=ENGINE_LATE)
        if before is not None:
            late = _joined(before, late)
        if self._items and isinstance(self._items[0], Gap):
            late = _joined(late, self._items.popleft())
        self._items.appendleft(late)
        self._clips_waiting -= 1
        self._clips_dropped += 1


def _joined(first: Clip | Gap, second: Clip | Gap) -> Gap:
    """One gap over both; it keeps the reason of the first."""
    assert isinstance(first, Gap) and isinstance(second, Gap)
    end = max(first.interval.end, second.interval.end, key=lambda time: time.pts_seconds)
    return Gap(interval=Interval(start=first.interval.start, end=end), reason=first.reason)
