"""What is to be forgotten of a stream, and what that was."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from streamvlm.errors import ErasureError
from streamvlm.types import Interval, StreamTime, UtcInterval

ON_THE_WAY_SECONDS = 60.0
"""More than a clip takes from a camera to memory: the queues between hold fewer. Where a camera's
clock is late, this much of what it will show is taken for what was on its way.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was forgotten: whole blocks and clips, so it may reach beyond what was asked for."""

    num_blocks: int = 0
    num_clips: int = 0
    """That were in no block yet."""
    num_events: int = 0
    """Alerts, with their pictures."""
    intervals: tuple[Interval, ...] = ()
    """Stretches of it, oldest first; with what was still on its way."""


def touches(span: UtcInterval, interval: Interval) -> bool:
    """Whether any of `span` may have been seen inside, as far off as the stream's clock may be."""
    start, end = interval.start, interval.end
    return (
        start.utc_seconds - start.clock_error_seconds < span.end_seconds
        and end.utc_seconds + end.clock_error_seconds > span.start_seconds
    )


def check_past(span: UtcInterval, now_utc_seconds: float) -> None:
    """Raise ErasureError where some of it has not happened yet; a side that is open has."""
    for each in (span.start_seconds, span.end_seconds):
        if now_utc_seconds < each < math.inf:
            raise ErasureError(
                f"what is to be erased must have happened: {each:.3f} is after now, "
                f"{now_utc_seconds:.3f} (seconds UTC)"
            )


def stretches(
    seen: Iterable[Interval], span: UtcInterval, seen_until: StreamTime | None
) -> tuple[Interval, ...]:
    """From the first to the last of those in a row that the span touches, and what of the span is
    still on its way; `seen` oldest first.
    """
    runs = [list(run) for touched, run in groupby(seen, partial(touches, span)) if touched]
    found = [run[0].until(run[-1].end) for run in runs]
    ahead = span.end_seconds - seen_until.utc_seconds if seen_until else 0.0
    if seen_until and 0 < ahead < math.inf:
        end = seen_until.later(min(ahead, ON_THE_WAY_SECONDS))
        found.append(Interval(start=seen_until, end=end))
    return tuple(found)
