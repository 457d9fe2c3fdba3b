"""From the local time of a zone to UTC, where that is not one to one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from streamvlm.errors import InvalidInputError
from streamvlm.types import UtcInterval

_MOST_CHARACTERS = 64


def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA name such as "Europe/Berlin"; UTC for the empty name.

    Raises InvalidInputError.
    """
    try:
        return ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        shown = name if len(name) <= _MOST_CHARACTERS else f"{name[:_MOST_CHARACTERS]}..."
        raise InvalidInputError(
            f"time_zone = {shown!r}; allowed: an IANA name such as 'Europe/Berlin', or 'UTC'"
        ) from None


def utc_moments(local: datetime, zone: tzinfo) -> tuple[list[float], str]:
    """The UTC seconds at which clocks show this naive local time, earliest first: two where they
    are set back over it. One that they skip is moved as far as they are, and the text says so.
    """
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if _is_skipped(local, zone):
        return [first.timestamp()], _skipped(local, zone, first)
    if first.utcoffset() == second.utcoffset():
        return [first.timestamp()], ""
    return [first.timestamp(), second.timestamp()], (
        f"{local:%Y-%m-%d %H:%M} comes twice in {zone}: clocks are set back; both are meant"
    )


def utc_stretches(
    start: datetime, end: datetime, zone: tzinfo
) -> tuple[list[UtcInterval], list[str]]:
    """The stretches of UTC that cover the naive local times from `start` to a later `end`, and what
    is to be said about them.
    """
    starts, of_start = utc_moments(start, zone)
    ends, of_end = utc_moments(end, zone)
    if starts[0] >= ends[-1]:
        # A start that clocks skip, moved past the end: as far the other way, then.
        before = start.replace(tzinfo=zone, fold=1)
        starts, of_start = [before.timestamp()], _skipped(start, zone, before)
    pairs = {(starts[0], ends[0]), (starts[-1], ends[-1])}
    intervals = merged(UtcInterval(start_seconds=a, end_seconds=b) for a, b in pairs)
    return intervals, [note for note in dict.fromkeys((of_start, of_end)) if note]


def merged(intervals: Iterable[UtcInterval]) -> list[UtcInterval]:
    """The same moments in as few stretches as can be, earliest first."""
    joined: list[UtcInterval] = []
    for each in sorted(intervals, key=lambda each: each.start_seconds):
        if joined and each.start_seconds <= joined[-1].end_seconds:
            end = max(joined[-1].end_seconds, each.end_seconds)
            joined[-1] = UtcInterval(start_seconds=joined[-1].start_seconds, end_seconds=end)
        else:
            joined.append(each)
    return joined


def _is_skipped(local: datetime, zone: tzinfo) -> bool:
    there_and_back = local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return there_and_back.replace(tzinfo=None) != local


def _skipped(local: datetime, zone: tzinfo, moved: datetime) -> str:
    taken = moved.astimezone(UTC).astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M} is skipped by the clocks of {zone}; taken as {taken:%H:%M}"
