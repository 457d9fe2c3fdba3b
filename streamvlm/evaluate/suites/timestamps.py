"""Times as annotators write them."""

from __future__ import annotations

import re

_TIMESTAMP = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d+)?)", re.ASCII)


def to_seconds(text: str) -> float | None:
    """Seconds of "HH:MM:SS" or "MM:SS"; None for everything else."""
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
