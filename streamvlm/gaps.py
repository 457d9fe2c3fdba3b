"""When a stream was blind: the newest gaps, in order, bounded."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from streamvlm.types import Gap, Interval

MAX_GAPS = 64
"""Gaps that a stream remembers; the oldest go first."""

ENGINE_FAILED = "ENGINE_FAILED"
"""Reason of a gap where pictures came but could not be taken in."""

RESTARTED = "RESTARTED"
"""Reason of a gap where what was seen was no block yet when its process ended."""

DEGRADED = "DEGRADED"
"""Reason of a gap where the vision tower made something of pictures that is no number."""

ERASED = "ERASED"
"""Reason of a gap where somebody had erased what was seen."""


class GapLog:
    """At most `most` gaps, oldest first. Gaps that touch and have one reason become one, so that a
    fault that comes back with every clip does not push out what happened before.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._gaps: list[Gap] = []

    def add(self, gap: Gap) -> None:
        """Note a gap, in whatever order they come; the oldest goes where there are too many."""
        insort(self._gaps, gap, key=lambda known: known.interval.start.pts_seconds)
        joined: list[Gap] = []
        for known in self._gaps:
            last = joined[-1] if joined else None
            if last and last.reason == known.reason and _touch(last, known):
                end = max(last.interval.end, known.interval.end, key=lambda time: time.pts_seconds)
                joined[-1] = replace(last, interval=last.interval.until(end))
            else:
                joined.append(known)
        self._gaps = joined[-self._most :]

    @contextmanager
    def noting_loss_of(self, interval: Interval, reason: str = ENGINE_FAILED) -> Iterator[None]:
        """What fails inside costs this interval."""
        try:
            yield
        except Exception:
            self.add(Gap(interval=interval, reason=reason))
            raise

    def newest(self) -> tuple[Gap, ...]:
        """All that are kept, oldest first."""
        return tuple(self._gaps)


def is_erased(interval: Interval, gaps: Iterable[Gap]) -> bool:
    """Whether any of it was erased."""
    start, end = interval.start.pts_seconds, interval.end.pts_seconds
    erased = [gap.interval for gap in gaps if gap.reason == ERASED]
    return any(each.start.pts_seconds < end and start < each.end.pts_seconds for each in erased)


def _touch(earlier: Gap, later: Gap) -> bool:
    return later.interval.start.pts_seconds <= earlier.interval.end.pts_seconds
