"""The words that name times: which there are, and what clock, day or length each means.

English, with clocks of 24 hours or am and pm. A number alone is no time, nor is a clock like 16:00
without a word such as "at" or a day beside it: scores, plates and prices look the same.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

_AMOUNTS = {
    "half a": 0.5, "half an": 0.5, "a": 1, "an": 1, "one": 1, "two": 2, "a couple of": 2,
    "couple of": 2, "three": 3, "four": 4, "five": 5, "a few": 5, "few": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30,
    "forty": 40, "forty-five": 45, "fifty": 50, "sixty": 60, "ninety": 90,
}  # fmt: skip
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
PARTS = {"morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24), "night": (18, 30)}
"""Of a day, in hours after its midnight; a night ends on the next day."""

_WORDS = "|".join(sorted(_AMOUNTS, key=len, reverse=True))
AMOUNT = rf"(?:\d{{1,6}}(?:\.\d{{1,3}})?|{_WORDS})"
_SHORT = r"seconds?|secs?|s|minutes?|mins?|hours?|hrs?|h"
UNIT = rf"(?:{_SHORT}|days?|weeks?)\b"
AGO = rf"{AMOUNT}\s?(?:{_SHORT})\b\s+ago"
"""How long ago, as a moment; of days and weeks it is a day."""

# Capital letters: people may march, and may do other things.
_MONTH = f"(?-i:{'|'.join(_MONTHS)})"
_NTH, _YEAR = r"\d{1,2}(?:st|nd|rd|th)?", r"(?:19|20)\d\d"
DAY = (
    r"(?:the\s+day\s+before\s+yesterday|yesterday|today|tomorrow"
    rf"|(?:on\s+|last\s+|this\s+)?(?:{'|'.join(_WEEKDAYS)})"
    rf"|(?:on\s+)?{_YEAR}-\d\d-\d\d"
    rf"|(?:on\s+)?(?:the\s+)?{_NTH}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?"
    rf"|on\s+{_MONTH}\s+{_NTH}(?:,?\s+{_YEAR})?"
    rf"|{AMOUNT}\s(?:days?|weeks?)\s+ago)(?!\w|-\w)"
)
_HALF = r"(?:am|pm|a\.m\.|p\.m\.|in\s+the\s+(?:morning|afternoon|evening))"
COLON_CLOCK = rf"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{{1,6}})?)?(?:\s?{_HALF})?(?![\w:])"
CLEAR_CLOCK = (
    rf"(?:(?:1[0-2]|0?[1-9])(?::[0-5]\d(?::[0-5]\d)?)?\s?(?:{_HALF}|o'clock)(?!\w)"
    r"|(?:noon|midday|midnight)\b)"
)
"""One that can be nothing else."""
CLOCK = rf"(?:{CLEAR_CLOCK}|{COLON_CLOCK})"
OFFSET = r"(?:\s?(?:Z|UTC|[+-]\d\d:?\d\d))(?!\w)"
"""Of a clock behind a date, as ISO 8601 writes it."""

_CLOCK_PARTS = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?(?::(?P<second>\d\d(?:\.\d+)?))?\s*(?P<half>.*)", re.S
)


def amount_of(words: str) -> float:
    """A number in figures or in words."""
    plain = " ".join(words.lower().split())
    return _AMOUNTS[plain] if plain in _AMOUNTS else float(plain)


def unit_of(words: str) -> float:
    """Seconds of a unit of time."""
    return _UNIT_SECONDS[words.lower()[0]]


def clock_of(words: str) -> tuple[float, bool]:
    """Seconds after midnight, and whether the seconds were named."""
    plain = " ".join(words.lower().split())
    if plain in ("noon", "midday", "midnight"):
        return (0.0 if plain == "midnight" else 43_200.0), False
    found = _CLOCK_PARTS.fullmatch(plain)
    assert found, f"{words!r} was taken for a clock"
    hour, half = int(found["hour"]), found["half"]
    if hour <= 12 and half.startswith(("am", "a.m", "pm", "p.m", "in the")):
        is_later = half.startswith("p") or half.endswith(("afternoon", "evening"))
        hour = hour % 12 + 12 * is_later
    return hour * 3600 + int(found["minute"] or 0) * 60 + float(found["second"] or 0), bool(
        found["second"]
    )


def day_of(words: str, today: date) -> date | None:
    """The day, seen from today: the newest one of its name that is not ahead, unless the words say
    otherwise. None where the calendar has no such day.
    """
    plain = " ".join(words.split())
    lower = plain.lower().removeprefix("on ")
    if lower in _NEAR_DAYS:
        return today + timedelta(days=_NEAR_DAYS[lower])
    if lower.endswith(" ago"):
        amount, unit = lower.removesuffix(" ago").rsplit(" ", 1)
        days = round(amount_of(amount) * (7 if unit.startswith("week") else 1))
        return today - timedelta(days=days) if days < 36_500 else None
    if lower.split()[-1] in _WEEKDAYS:
        return _weekday_of(lower, today)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", lower):
            return date.fromisoformat(lower)
        return _calendar_day(plain, today)
    except ValueError:
        return None


_NEAR_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1, "the day before yesterday": -2}


def _weekday_of(lower: str, today: date) -> date:
    back = (today.weekday() - _WEEKDAYS.index(lower.split()[-1])) % 7
    if lower.startswith("last ") and back == 0:
        back = 7
    if lower.startswith("this ") and back > today.weekday():
        back -= 7  # later in this week
    return today - timedelta(days=back)


def _calendar_day(plain: str, today: date) -> date:
    month = next(index for index, name in enumerate(_MONTHS, 1) if name in plain)
    numbers = [int(number) for number in re.findall(r"\d+", plain)]
    if len(numbers) == 2:
        return date(numbers[1], month, numbers[0])
    day = date(today.year, month, numbers[0])
    return day if day <= today else date(today.year - 1, month, numbers[0])
