"""Stretches of stream time, and what lies in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from streamvlm.types import Interval

Stretch = tuple[float, float]
"""[start, end) in stream seconds (`pts_seconds`); an instant where both are the same. An end may be
infinite.
"""


def check(within: Sequence[Stretch]) -> None:
    """Raise ValueError for a stretch that ends before it starts, or is none."""
    for start, end in within:
        if math.isnan(start) or math.isnan(end) or end < start:
            raise ValueError(f"a stretch of time must not end before it starts: {start} to {end} s")


def overlaps(interval: Interval, within: Sequence[Stretch]) -> bool:
    """Whether the interval has a moment in one of these."""
    first, last = interval.start.pts_seconds, interval.end.pts_seconds
    # Of two half-open stretches that meet, one starts in the other; so does an instant.
    return any(
        start == first or start <= first < end or first <= start < last for start, end in within
    )
