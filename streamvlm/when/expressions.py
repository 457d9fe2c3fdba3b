"""Which stretches of a text name times, and what each is made of; nothing of zones and of UTC."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Literal

from streamvlm.when.words import (
    AGO,
    AMOUNT,
    CLEAR_CLOCK,
    CLOCK,
    COLON_CLOCK,
    DAY,
    OFFSET,
    PARTS,
    UNIT,
    amount_of,
    clock_of,
    day_of,
    unit_of,
)

Kind = Literal["at", "about", "on", "between", "since", "before", "after"]

DAY_SECONDS = 86_400.0
_SIDES: dict[str, Kind] = {
    "since": "since",
    "after": "after",
    "before": "before",
    "until": "before",
    "till": "before",
}

_ISO = (
    r"(?:on )?(?:19|20)\d\d-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d"
    rf"(?::[0-5]\d(?:\.\d{{1,6}})?)?(?:{OFFSET}|(?![\w:]))"
)
_MOMENT = rf"(?:{_ISO}|(?:{DAY},? (?:at )?)?{CLOCK}(?:,? {DAY})?|{AGO}|{DAY})"
_PART = rf"(?:{'|'.join(PARTS)})\b"
_TO = r"(?: (?:to|until|till) | ?[-–] ?)"  # noqa: RUF001
_TIMES = re.compile(
    rf"(?<![\w:.,/$€-])(?:"
    rf"(?:between|from) (?P<far>{AMOUNT})(?: ?(?P<far_unit>{UNIT}))?(?: and |{_TO})"
    rf"(?P<near>{AMOUNT}) ?(?P<near_unit>{UNIT}) ago"
    rf"|between (?P<first>{_MOMENT}|\d{{1,2}}) and (?P<second>{_MOMENT})"
    rf"|(?:from )(?P<from_>{_MOMENT}|\d{{1,2}}){_TO}(?P<to>{_MOMENT})"
    rf"|(?P<begin>{_MOMENT}){_TO}(?P<end>{_MOMENT})"
    rf"|(?:the )?(?:last|previous|past) (?:(?P<last>{AMOUNT}) ?)?(?P<last_unit>{UNIT})"
    rf"|(?P<part_day>this|last(?= night)|{DAY}) (?P<part>{_PART})|(?P<tonight>tonight)\b"
    rf"|(?P<side>since|before|after|until|till) (?:at )?(?P<bound>{_MOMENT})"
    rf"|(?:(?P<at>at about|at around|at|around|about|by|@) ?)?(?P<moment>{_MOMENT})"
    rf")",
    re.IGNORECASE,
)
_MOMENT_PARTS = re.compile(
    rf"(?P<only_day>{DAY})|(?P<iso>{_ISO})|(?P<ago_amount>{AMOUNT}) ?(?P<ago_unit>{UNIT}) ago"
    rf"|(?:(?P<day>{DAY}),? (?:at )?)?(?P<clock>{CLOCK})(?:,? (?P<later_day>{DAY}))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment or one day, as far as its words say which."""

    day: date | None = None
    seconds: float | None = None
    """After the midnight of its day; None for the whole day."""
    is_exact: bool = False
    """Seconds were named."""
    utc_seconds: float | None = None
    """Where the words themselves say it."""
    tolerance_seconds: float = 0.0
    """How far the words may be off on either side, where that is not the clock's to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """Words that name one time."""

    words: str
    start: int
    """Where they are in the text."""
    end: int
    kind: Kind
    first: Moment
    second: Moment | None = None
    """The end of what is between."""

    @property
    def needs_day(self) -> bool:
        """Whether its words name a clock, but no day."""
        moments = (self.first, *([self.second] if self.second else []))
        return all(each.day is None and each.utc_seconds is None for each in moments)

    def on(self, day: date, words: str = "") -> Expression:
        """The same on the day that these words name."""
        both = f"{words}, {self.words}" if words else self.words
        return replace(self, first=replace(self.first, day=day), words=both)


def expressions(text: str, now: datetime, now_utc_seconds: float) -> list[Expression]:
    """What names times in a text whose words have single spaces between them; `now` is local."""
    reader = _Reader(now, now_utc_seconds)
    found = [each for match in _TIMES.finditer(text) if (each := reader.read(match))]
    return list(_with_days(found))


def _with_days(found: list[Expression]) -> Iterator[Expression]:
    """Clocks without a day have that of the nearest day that stands alone."""
    days = [each for each in found if each.kind == "on"]
    taken: set[int] = set()
    dated: list[Expression] = []
    for each in found:
        if days and each.needs_day:
            nearest = min(days, key=lambda day: max(each.start - day.end, day.start - each.end))
            assert nearest.first.day
            taken.add(nearest.start)
            each = each.on(nearest.first.day, nearest.words)
        dated.append(each)
    return (each for each in dated if each.kind != "on" or each.start not in taken)


class _Reader:
    """What words mean, seen from now."""

    def __init__(self, now: datetime, now_utc_seconds: float) -> None:
        self._now, self._now_utc = now, now_utc_seconds

    def read(self, match: re.Match[str]) -> Expression | None:
        """None where the words name nothing after all."""
        read = self._read(match.groupdict())
        if read is None:
            return None
        kind, first, second = read
        return Expression(
            words=match.group(),
            start=match.start(),
            end=match.end(),
            kind=kind,
            first=first,
            second=second,
        )

    def _read(self, found: dict[str, str | None]) -> tuple[Kind, Moment, Moment | None] | None:
        if found["near"] or found["last_unit"]:
            return self._lately(found)
        if found["part"] or found["tonight"]:
            return self._part(found)
        for first, second in (("first", "second"), ("from_", "to"), ("begin", "end")):
            if found[first]:
                return self._between(found[first] or "", found[second] or "")
        if found["side"]:
            bound = self._moment(found["bound"] or "")
            return (_SIDES[found["side"].lower()], bound, None) if bound else None
        return self._single(found["moment"] or "", (found["at"] or "").lower())

    def _lately(self, found: dict[str, str | None]) -> tuple[Kind, Moment, Moment]:
        if found["near"]:
            unit = found["near_unit"] or ""
            back = [amount_of(found["near"]) * unit_of(unit)]
            back.append(amount_of(found["far"] or "") * unit_of(found["far_unit"] or unit))
        else:
            back = [0.0, amount_of(found["last"] or "one") * unit_of(found["last_unit"] or "")]
        return "between", self._back(max(back)), self._back(min(back))

    def _back(self, seconds: float, tolerance_seconds: float = 0.0) -> Moment:
        utc = max(0.0, self._now_utc - seconds)
        return Moment(utc_seconds=utc, tolerance_seconds=tolerance_seconds)

    def _part(self, found: dict[str, str | None]) -> tuple[Kind, Moment, Moment] | None:
        word = (found["part_day"] or "this").lower()
        part = (found["part"] or "night").lower()
        today = self._now.date()
        if word == "this":
            # After midnight the night is still that of the day before.
            is_night_now = part == "night" and self._now.hour < PARTS["night"][1] - 24
            day: date | None = today - timedelta(days=is_night_now)
        else:
            day = today - timedelta(days=1) if word == "last" else day_of(word, today)
        start, end = PARTS[part]
        if day is None:
            return None
        first = Moment(day=day, seconds=start * 3600.0)
        return "between", first, Moment(seconds=end * 3600.0)

    def _between(self, first: str, second: str) -> tuple[Kind, Moment, Moment] | None:
        end = self._moment(second)
        if end is None:
            return None
        if not first.isdigit():
            start = self._moment(first)
            return ("between", start, end) if start else None
        hour = int(first)
        if hour > 23 or end.seconds is None:
            return None
        hours = {hour * 3600.0}
        if re.search(CLEAR_CLOCK, second, re.IGNORECASE) and hour <= 12:
            hours = {hour % 12 * 3600.0, (hour % 12 + 12) * 3600.0}
        fitting = [each for each in hours if each < end.seconds] or hours
        return "between", Moment(seconds=max(fitting)), end

    def _single(self, words: str, at: str) -> tuple[Kind, Moment, None] | None:
        if not at and re.fullmatch(COLON_CLOCK, words) and not re.search("[a-z]", words, re.I):
            return None
        moment = self._moment(words)
        if moment is None:
            return None
        if moment.seconds is None and moment.utc_seconds is None:
            return "on", moment, None
        return ("about" if at.endswith(("about", "around")) else "at"), moment, None

    def _moment(self, words: str) -> Moment | None:
        found = _MOMENT_PARTS.fullmatch(words)
        assert found, f"{words!r} was taken for a moment"
        if found["iso"]:
            return _iso(found["iso"])
        if found["ago_unit"]:
            unit = unit_of(found["ago_unit"])
            seconds = amount_of(found["ago_amount"]) * unit
            # As precise as people are: to the unit, but a quarter of it all at most.
            return self._back(seconds, min(unit / 2, seconds / 4))
        named = found["day"] or found["later_day"] or found["only_day"]
        day = day_of(named, self._now.date()) if named else None
        if named and day is None:
            return None
        if not found["clock"]:
            return Moment(day=day)
        seconds, is_exact = clock_of(found["clock"])
        return Moment(day=day, seconds=seconds, is_exact=is_exact)


def _iso(words: str) -> Moment | None:
    plain = words.lower().removeprefix("on ").upper().replace("UTC", "Z")
    day, clock = plain[:10], plain[11:].replace(" ", "")
    try:
        at = datetime.fromisoformat(f"{day}T{clock}")
    except ValueError:
        return None
    is_exact = clock[5:6] == ":"
    if at.tzinfo is not None:
        return Moment(utc_seconds=at.timestamp(), is_exact=is_exact)
    seconds = (at - datetime.combine(at.date(), time())).total_seconds()
    return Moment(day=at.date(), seconds=seconds, is_exact=is_exact)
