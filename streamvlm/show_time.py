"""How the command line shows what answers and searches come from, and when that was."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.table import Table
from rich.text import Text

from streamvlm.show import line, when
from streamvlm.types import AnswerStarted, AskedTime, Evidence, Moment, UtcInterval


def evidence(started: AnswerStarted) -> Table:
    """What an answer was given from, and when the stream was blind."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("FROM", "CAMERA TIME, UTC", "CLOCK", "STREAM SECONDS", "SCORE", "TOKENS"):
        table.add_column(name)
    for piece in started.evidence:
        score = "" if piece.score is None else f"{piece.score:.3f}"
        table.add_row(_origin(piece), *when(piece.interval), score, str(piece.num_tokens))
    for gap in started.gaps:
        table.add_row(line(f"blind: {gap.reason}", style="yellow"), *when(gap.interval), "", "")
    return table


def asked(time: AskedTime) -> Iterator[Text]:
    """What a question asks about, as its camera's clock shows it, and what of it is not known."""
    words = f"{time.words!r}: " if time.words else ""
    spans = ", ".join(_span(each, time.time_zone) for each in time.intervals)
    yield line(f"asked about {words}{spans} {time.time_zone}")
    for note in time.notes:
        yield line(note, style="yellow")
    for each in time.unknown:
        span = _span(each.interval, time.time_zone)
        yield line(f"not known: {span}, {each.reason}", style="yellow")


def moments(found: Iterable[Moment]) -> Table:
    """What a search found, best first."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("STREAM", "CAMERA TIME, UTC", "CLOCK", "STREAM SECONDS", "SCORE", "BLOCK"):
        table.add_column(name)
    for each in found:
        row = (*when(each.interval), f"{each.score:.3f}", str(each.block_id))
        table.add_row(line(each.stream_id), *row)
    return table


def _origin(piece: Evidence) -> str:
    return "recent" if piece.block_id is None else f"block {piece.block_id}"


def _span(interval: UtcInterval, time_zone: str) -> str:
    sides = (interval.start_seconds, interval.end_seconds)
    return " to ".join(_clock(side, time_zone) for side in sides)


def _clock(utc_seconds: float, time_zone: str) -> str:
    """Without what is open, which nobody can show."""
    if math.isinf(utc_seconds):
        return "..."
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")  # of a service that knows zones which this machine does not
    return f"{datetime.fromtimestamp(utc_seconds, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S}"
