"""Times of a recording, counted from its beginning: "at 95 seconds", "1:35 into the video"."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamvlm.when.words import unit_of

_NUMBER = r"\d{1,7}(?:\.\d{1,3})?"
_LONG_UNIT = r"seconds?|minutes?|hours?"
_INTO = r"into (?:the|this) (?:video|recording|stream|film|clip|file)\b"
_NOT_COUNTED_BACK = r"(?! (?:ago|before|after|later|past|to)\b)"
_TIMES = re.compile(
    rf"at (?:the time of )?(?P<seconds>{_NUMBER}) seconds?\b{_NOT_COUNTED_BACK}"
    rf"|at (?:the )?(?P<unit>second|minute) (?P<count>{_NUMBER})(?![\w:])"
    rf"|(?P<amount>{_NUMBER}) (?P<amount_unit>{_LONG_UNIT}) {_INTO}"
    rf"|(?:(?P<hours>\d{{1,3}}):)?(?P<minutes>\d{{1,3}}):(?P<rest>[0-5]\d) {_INTO}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMoment:
    """A moment that a text names by the stream's own time."""

    words: str
    pts_seconds: float


def read_stream_time(text: str) -> StreamMoment | None:
    """The first moment that a text counts from the stream's beginning, or None."""
    found = _TIMES.search(" ".join(text.split()))
    if found is None:
        return None
    if found["seconds"]:
        seconds = float(found["seconds"])
    elif found["count"]:
        seconds = float(found["count"]) * unit_of(found["unit"])
    elif found["amount"]:
        seconds = float(found["amount"]) * unit_of(found["amount_unit"])
    else:
        hours, minutes, rest = (int(found[name] or 0) for name in ("hours", "minutes", "rest"))
        seconds = 3600.0 * hours + 60 * minutes + rest
    return StreamMoment(words=found[0], pts_seconds=seconds)
