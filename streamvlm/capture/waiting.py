"""Clips and gaps of one stream that wait for the engine."""

from __future__ import annotations

import threading
from collections import deque
from itertools import pairwise
from typing import NamedTuple

from streamvlm.capture.clock import span
from streamvlm.types import Clip, Gap

ENGINE_LATE = "ENGINE_LATE"
"""`Gap.reason` of clips that were thrown away because the engine was late."""

_SPARE_GAPS = 32


class WaitingCounts(NamedTuple):
    """A snapshot of a `WaitingClips`."""

    clips_waiting: int
    clips_dropped: int
    gaps_total: int
    gap_seconds_total: float


class WaitingClips:
    """A bounded queue that never blocks whoever fills it; safe to use from several threads.

    Holds at most `max_clips` clips and 32 gaps more than that. Gaps in a row that touch and have
    one reason become one; where there are too many, the oldest two in a row do, whatever they are,
    and the longer one's reason stays.
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
            self._items.append(item)
            if isinstance(item, Clip):
                self._clips_waiting += 1
                if self._clips_waiting > self._max_clips:
                    self._drop_oldest()
            self._join_gaps()

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
        """Turn the oldest clip into a gap. One clip at least comes after it: the one just put."""
        items = list(self._items)
        index = next(i for i, item in enumerate(items) if isinstance(item, Clip))
        clip = items[index]
        assert isinstance(clip, Clip)
        # A clip's end is a guess from the sampling rate; the next item tells where it really was.
        interval, follower = clip.interval, items[index + 1].interval.start
        if follower.pts_seconds <= interval.end.pts_seconds + clip.frame_seconds:
            interval = span(interval.start, follower)
        self._items[index] = Gap(interval=interval, reason=ENGINE_LATE)
        self._clips_waiting -= 1
        self._clips_dropped += 1

    def _join_gaps(self) -> None:
        items: list[Clip | Gap] = []
        for item in self._items:
            last = items[-1] if items else None
            if isinstance(last, Gap) and isinstance(item, Gap) and _belong_together(last, item):
                items[-1] = _joined(last, item)
            else:
                items.append(item)
        num_gaps = len(items) - self._clips_waiting
        if num_gaps > self._max_clips + _SPARE_GAPS:
            _join_oldest_two(items)
        self._items = deque(items)


def _belong_together(earlier: Gap, later: Gap) -> bool:
    touch = later.interval.start.pts_seconds <= earlier.interval.end.pts_seconds
    return touch and later.reason == earlier.reason


def _join_oldest_two(items: list[Clip | Gap]) -> None:
    """There are more gaps than clips can part, so some two are neighbours."""
    for index, (first, second) in enumerate(pairwise(items)):
        if isinstance(first, Gap) and isinstance(second, Gap):
            items[index : index + 2] = [_joined(first, second)]
            return


def _joined(first: Gap, second: Gap) -> Gap:
    """One gap over both, with the reason of the longer one."""
    end = max(first.interval.end, second.interval.end, key=lambda time: time.pts_seconds)
    longer = max(first, second, key=lambda gap: gap.interval.duration_seconds)
    return Gap(interval=span(first.interval.start, end), reason=longer.reason)
