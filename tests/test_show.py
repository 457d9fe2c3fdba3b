from __future__ import annotations

import io

from rich.console import Console, RenderableType

from streamvlm import show, show_time
from streamvlm.doctor import Check
from streamvlm.types import (
    AnswerStarted,
    ClockSource,
    FeedStatus,
    Gap,
    Interval,
    MemoryStatus,
    SourceState,
    StreamStatus,
    StreamTime,
)

EVIL = "\x1b]0;owned\x07\x1b[2J\n[red]evil"
START = StreamTime(pts_seconds=3.0, utc_seconds=1_750_000_000.0, clock=ClockSource.ARRIVAL)
OUTAGE = Gap(interval=Interval(start=START, end=START.later(2.0)), reason=EVIL)
STREAM = StreamStatus(
    stream_id=EVIL,
    source=EVIL,
    created_utc_seconds=START.utc_seconds,
    feed=FeedStatus(state=SourceState.FAILED, reason=EVIL, message=EVIL, blind=OUTAGE),
    memory=MemoryStatus(gaps=(OUTAGE,)),
)


def rendered(table: RenderableType) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=250)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_text_from_elsewhere_does_not_steer_the_terminal() -> None:
    started = AnswerStarted(question_id=EVIL, evidence=(), gaps=(OUTAGE,))
    check = Check(name="service", is_ok=True, detail=EVIL, is_required=True)
    for table in (
        show.streams([STREAM]),
        show.stream(STREAM),
        show_time.evidence(started),
        show.checks([check]),
    ):
        text = rendered(table)
        assert "[red]evil" in text
        assert "\x1b]" not in text and "\x1b[2J" not in text and "\x07" not in text


def test_an_outage_that_goes_on_is_told() -> None:
    text = rendered(show.stream(STREAM))
    assert "blind since 2025-06-15 15:06:40.0 UTC (arrival), 3.0 s" in text
