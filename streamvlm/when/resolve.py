"""From a text to the stretches of UTC that it names, seen from a zone and a moment."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from streamvlm.types import UtcInterval
from streamvlm.when.expressions import DAY_SECONDS, Expression, Moment, expressions
from streamvlm.when.zones import merged, utc_moments, utc_stretches

EXACT_SECONDS, MINUTE_SECONDS, ABOUT_SECONDS = 15.0, 120.0, 900.0
"""What a moment stands for on either side: of a clock with seconds, of one without, and where the
words themselves say "about"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTime:
    """What a text says about when."""

    words: str
    """Those of the text, with commas between what stands apart."""
    intervals: tuple[UtcInterval, ...]
    """Earliest first, and none touches another. Of one that has begun, what is not ahead; what was
    before a day has no beginning."""
    notes: tuple[str, ...] = ()
    """What the clocks of the zone made of it."""


def read_time(text: str, now_utc_seconds: float, zone: tzinfo) -> NamedTime | None:
    """The times that a text names, or None.

    A clock without a day is the newest that is not ahead: at 2 pm, "at 4 pm" is yesterday's. A day
    of the week is the newest of its name, today's included; "last Monday" is not today. "At" and
    "ago" stand for a little before and after, "before 9 am" for its day from midnight on, "after"
    for its day's rest, "the last week" for seven days. A night is from 18:00 to 6:00. Both are
    meant where clocks are set back over a time.
    """
    plain = " ".join(text.split())
    now = datetime.fromtimestamp(now_utc_seconds, UTC).astimezone(zone)
    found = expressions(plain, now.replace(tzinfo=None), now_utc_seconds)
    resolver = _Resolver(now_utc_seconds, now.replace(tzinfo=None), zone)
    intervals = [stretch for each in found for stretch in resolver.stretches(each)]
    if not intervals:
        return None
    return NamedTime(
        words=", ".join(each.words for each in found),
        intervals=tuple(merged(intervals)),
        notes=tuple(dict.fromkeys(resolver.notes)),
    )


class _Resolver:
    def __init__(self, now_utc_seconds: float, now: datetime, zone: tzinfo) -> None:
        self._now_utc, self._now, self._zone = now_utc_seconds, now, zone
        self.notes: list[str] = []

    def stretches(self, asked: Expression) -> list[UtcInterval]:
        """The stretches that an expression names; none where they would end before they begin."""
        if asked.needs_day:
            asked = asked.on(self._newest_day(asked))
        return [self._begun(each) for each in self._whole(asked)]

    def _whole(self, asked: Expression) -> list[UtcInterval]:
        first = asked.first
        match asked.kind:
            case "at" | "about":
                return self._around(first, asked.kind == "about")
            case "on":
                return self._local(self._start(first), self._end(first))
            case "since":
                return [self._until_now(self._utc(first)[0])]
            case "after" if first.utc_seconds is not None or first.seconds is None:
                return [self._until_now(self._utc_end(first))]
            case "after":
                return self._local(self._start(first), self._end(replace(first, seconds=None)))
            case "before" if first.utc_seconds is not None or first.seconds is None:
                return _stretch(-math.inf, self._utc(first)[0])
            case "before":
                return self._local(self._start(replace(first, seconds=None)), self._start(first))
        assert asked.second is not None
        return self._between(first, asked.second)

    def _between(self, first: Moment, second: Moment) -> list[UtcInterval]:
        if first.utc_seconds is not None or second.utc_seconds is not None:
            known = first.day or second.day or self._now.date()
            first, second = (
                each if each.day else replace(each, day=known) for each in (first, second)
            )
            return _stretch(self._utc(first)[0], self._utc_end(second))
        is_dated = first.day is not None and second.day is not None
        day = first.day or second.day
        start, end = (
            self._start(replace(first, day=day)),
            self._end(replace(second, day=second.day or day)),
        )
        if end <= start and is_dated:
            start -= timedelta(days=7)  # from a Friday to the Monday behind it
        elif end <= start and second.day:
            start -= timedelta(days=1)
        return self._local(start, end)

    def _around(self, moment: Moment, is_rough: bool) -> list[UtcInterval]:
        by_clock = EXACT_SECONDS if moment.is_exact else MINUTE_SECONDS
        tolerance = max(
            EXACT_SECONDS,
            moment.tolerance_seconds or by_clock,
            ABOUT_SECONDS if is_rough else 0.0,
        )
        return [
            UtcInterval(start_seconds=at - tolerance, end_seconds=at + tolerance)
            for at in self._utc(moment)
        ]

    def _local(self, start: datetime, end: datetime) -> list[UtcInterval]:
        """From a local time to the first later one that reads as `end`."""
        if end <= start:
            end += timedelta(days=1)
        if end <= start:
            return []
        intervals, notes = utc_stretches(start, end, self._zone)
        self.notes += notes
        return intervals

    def _start(self, moment: Moment) -> datetime:
        """As local clocks show it."""
        assert moment.day is not None
        midnight = datetime.combine(moment.day, time())
        return midnight + timedelta(seconds=moment.seconds or 0.0)

    def _end(self, moment: Moment) -> datetime:
        """The moment itself, or the end of a whole day."""
        return self._start(
            moment if moment.seconds is not None else replace(moment, seconds=DAY_SECONDS)
        )

    def _utc(self, moment: Moment) -> list[float]:
        if moment.utc_seconds is not None:
            return [moment.utc_seconds]
        moments, note = utc_moments(self._start(moment), self._zone)
        self.notes += [note] if note else []
        return moments

    def _utc_end(self, moment: Moment) -> float:
        if moment.utc_seconds is None and moment.seconds is None:
            moment = replace(moment, seconds=DAY_SECONDS)
        return self._utc(moment)[-1]

    def _until_now(self, start_utc_seconds: float) -> UtcInterval:
        """Or for a day, where it has not begun."""
        is_ahead = start_utc_seconds >= self._now_utc
        end = start_utc_seconds + DAY_SECONDS if is_ahead else self._now_utc
        return UtcInterval(start_seconds=start_utc_seconds, end_seconds=end)

    def _newest_day(self, asked: Expression) -> date:
        """Of a clock without a day: today, unless it would not have begun."""
        today = self._now.date()
        if asked.kind == "before" or self._start(replace(asked.first, day=today)) <= self._now:
            return today
        return today - timedelta(days=1)

    def _begun(self, stretch: UtcInterval) -> UtcInterval:
        """Without what is ahead, unless all of it is."""
        if stretch.start_seconds >= self._now_utc:
            return stretch
        return replace(stretch, end_seconds=min(stretch.end_seconds, self._now_utc))


def _stretch(start: float, end: float) -> list[UtcInterval]:
    return [UtcInterval(start_seconds=start, end_seconds=end)] if start < end else []
