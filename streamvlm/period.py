"""Which stretch of a stream a question asks about, what of it can be known, and what cannot.

The times of a question are UTC; those of memory are the stream's own. Every interval that is
remembered has both, so each is a piece of the way from one to the other, also where the camera's
clock was set anew between two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from streamvlm.errors import TimeAheadError, TimeNotRememberedError
from streamvlm.remember import Stretch
from streamvlm.types import AskedTime, Gap, Interval, Question, UnknownTime, UtcInterval
from streamvlm.when import EXACT_SECONDS, StreamMoment, read_stream_time, read_time

BEFORE_MEMORY = "BEFORE_MEMORY"
"""Reason of unknown time: the stream began later, or what it showed then was forgotten."""
NOT_SEEN = "NOT_SEEN"
"""Reason of unknown time: no picture of it was taken in, and no gap says why."""

Within = tuple[Stretch, ...]

MAX_UNKNOWN = 16
_LEAST_UNKNOWN_SECONDS = 2.0
"""Less than a clip stands for is no hole in what was asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What a question asks about, in the time of its stream."""

    asked: AskedTime
    within: Within
    """Half-open stretches of stream seconds of which something is remembered, earliest first; none
    where nothing is."""


def period_of(
    question: Question,
    remembered: Sequence[Interval],
    gaps: Sequence[Gap],
    blind: Gap | None,
    zone: tzinfo,
) -> Period | None:
    """What a question asks about, by its interval or else by its text; None for no time at all.

    `remembered`, not empty, is all that an answer can draw on, oldest first; `blind` is an outage
    that goes on now. Raises TimeAheadError where all of the time asked about is ahead,
    TimeNotRememberedError where nothing of it is remembered.
    """
    now = (blind.interval if blind else remembered[-1]).end.utc_seconds
    asked = _asked(question, remembered, now, zone)
    if asked is None:
        return None
    if all(each.start_seconds >= now for each in asked.intervals):
        raise TimeAheadError(
            f"{_told(asked, zone)} is ahead: by the camera's clock it is {_shown(now, zone)}"
        )
    period = placed(asked, remembered, [*gaps, *([blind] if blind else [])])
    if not period.within:
        begun = _shown(remembered[0].start.utc_seconds, zone)
        reasons = ", ".join(dict.fromkeys(each.reason for each in period.asked.unknown))
        raise TimeNotRememberedError(
            f"nothing is remembered of {_told(asked, zone)}: {reasons}; memory begins at {begun}"
        )
    return period


def placed(asked: AskedTime, remembered: Sequence[Interval], gaps: Sequence[Gap]) -> Period:
    """Where the time asked about lies in the stream, and what of it is not known."""
    pairs = [(piece, utc) for piece in remembered if (utc := _utc_of(piece))]
    within = [
        _to_stream(piece, utc, common)
        for piece, utc in pairs
        for each in asked.intervals
        if (common := each.overlap(utc))
    ]
    unseen = _without(asked.intervals, [utc for _, utc in pairs])
    if within:
        unseen = [each for each in unseen if _length(each) >= _LEAST_UNKNOWN_SECONDS]
    begin = min((utc.start_seconds for _, utc in pairs), default=float("inf"))
    unknown = [part for each in unseen for part in _explained(each, gaps, begin)]
    return Period(
        asked=replace(asked, unknown=tuple(unknown[-MAX_UNKNOWN:])), within=tuple(_joined(within))
    )


def _asked(
    question: Question, remembered: Sequence[Interval], now: float, zone: tzinfo
) -> AskedTime | None:
    if question.during is None:
        named = read_time(question.text, now, zone)
        if named is None:
            moment = read_stream_time(question.text)
            return _around(moment, remembered, zone) if moment else None
        return AskedTime(
            words=named.words, intervals=named.intervals, time_zone=str(zone), notes=named.notes
        )
    until_now = UtcInterval(end_seconds=now)
    interval = question.during.overlap(until_now) or question.during
    return AskedTime(words="", intervals=(interval,), time_zone=str(zone))


def _around(moment: StreamMoment, remembered: Sequence[Interval], zone: tzinfo) -> AskedTime:
    """By the clock of the piece that it lies in or behind, of the first one if before all."""
    before = [each for each in remembered if each.start.pts_seconds <= moment.pts_seconds]
    start = (before or remembered)[-1 if before else 0].start
    utc = start.utc_seconds + moment.pts_seconds - start.pts_seconds
    around = UtcInterval(start_seconds=utc - EXACT_SECONDS, end_seconds=utc + EXACT_SECONDS)
    return AskedTime(words=moment.words, intervals=(around,), time_zone=str(zone))


def _utc_of(piece: Interval) -> UtcInterval | None:
    """None for a piece without a length; one whose clock was set back lasts as the stream says."""
    start, end = piece.start.utc_seconds, piece.end.utc_seconds
    if end <= start:
        end = start + piece.duration_seconds
    return UtcInterval(start_seconds=start, end_seconds=end) if start < end else None


def _to_stream(piece: Interval, utc: UtcInterval, part: UtcInterval) -> tuple[float, float]:
    """Stream seconds of a part of a piece."""
    rate = piece.duration_seconds / _length(utc)
    begin = piece.start.pts_seconds
    return (
        begin + (part.start_seconds - utc.start_seconds) * rate,
        begin + (part.end_seconds - utc.start_seconds) * rate,
    )


def _joined(stretches: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _without(whole: Sequence[UtcInterval], known: Iterable[UtcInterval]) -> list[UtcInterval]:
    """What is left of some stretches, earliest first."""
    edges = _joined((each.start_seconds, each.end_seconds) for each in known)
    left: list[UtcInterval] = []
    for each in whole:
        begin = each.start_seconds
        for start, end in edges:
            if start > begin and (
                part := UtcInterval(start_seconds=begin, end_seconds=start).overlap(each)
            ):
                left.append(part)
            begin = max(begin, end)
        if begin < each.end_seconds:
            left.append(UtcInterval(start_seconds=begin, end_seconds=each.end_seconds))
    return left


def _explained(unseen: UtcInterval, gaps: Sequence[Gap], begin: float) -> list[UnknownTime]:
    """Why nobody knows, earliest first."""
    blind = [(gap.reason, utc) for gap in gaps if (utc := _utc_of(gap.interval))]
    told = [
        UnknownTime(interval=common, reason=reason)
        for reason, utc in blind
        if (common := unseen.overlap(utc))
    ]
    told += [
        UnknownTime(interval=rest, reason=BEFORE_MEMORY if rest.start_seconds < begin else NOT_SEEN)
        for rest in _without([unseen], [utc for _, utc in blind])
    ]
    return sorted(told, key=lambda each: each.interval.start_seconds)


def _length(utc: UtcInterval) -> float:
    return utc.end_seconds - utc.start_seconds


def _told(asked: AskedTime, zone: tzinfo) -> str:
    """The words and what was made of them."""
    spans = ", ".join(
        f"{_shown(each.start_seconds, zone)} to {_shown(each.end_seconds, zone)}"
        for each in asked.intervals
    )
    return f"{asked.words!r} ({spans})" if asked.words else spans


def _shown(utc_seconds: float, zone: tzinfo) -> str:
    try:
        local = datetime.fromtimestamp(utc_seconds, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return "the beginning" if utc_seconds < 0 else "the end of time"
    return f"{local:%Y-%m-%d %H:%M:%S} {zone}"
