"""What a feed says of itself, above all while it sees nothing."""

from __future__ import annotations

import pytest

from streamvlm.capture import standing as standing_module
from streamvlm.capture.standing import Standing
from streamvlm.capture.waiting import WaitingCounts
from streamvlm.types import ClockSource, Gap, Interval, SourceReport, SourceState, StreamTime

COUNTS = WaitingCounts(0, 0, 1, 7.0)
LIVE = SourceReport(state=SourceState.LIVE)
LOST = SourceReport(state=SourceState.RECONNECTING, reason="SOURCE_LOST")


def at(seconds: float) -> StreamTime:
    return StreamTime(pts_seconds=seconds, utc_seconds=seconds, clock=ClockSource.ARRIVAL)


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now_seconds = 100.0

    def monotonic(self) -> float:
        return self.now_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(standing_module, "time", clock)
    return clock


def watched(patience_seconds: float | None = 2.5) -> Standing:
    standing = Standing("cam", frame_seconds=0.5, patience_seconds=patience_seconds)
    standing.report(LIVE)
    return standing


def test_an_outage_that_goes_on_is_told_and_counted_until_pictures_come_back(clock: Clock) -> None:
    standing = watched()
    standing.note_frame(at(10))
    clock.now_seconds += 2.5
    standing.report(LOST)
    assert standing.status(COUNTS).blind is None
    clock.now_seconds += 1.5
    status = standing.status(COUNTS)
    assert status.blind == Gap(interval=Interval(start=at(10.5), end=at(14)), reason="SOURCE_LOST")
    assert (status.gaps_total, status.gap_seconds_total) == (2, 10.5)
    standing.note(Gap(interval=Interval(start=at(10.5), end=at(15)), reason="SOURCE_LOST"))
    status = standing.status(COUNTS)
    assert (status.blind, status.gaps_total, status.gap_seconds_total) == (None, 1, 7.0)
    clock.now_seconds += 3
    status = standing.status(COUNTS)
    assert status.blind is not None and status.blind.interval == Interval(start=at(15), end=at(18))


def test_silence_without_a_report_is_a_stall(clock: Clock) -> None:
    standing = watched()
    standing.note_frame(at(10))
    clock.now_seconds += 60
    blind = standing.status(COUNTS).blind
    assert blind is not None and blind.reason == "SOURCE_STALLED"


def test_what_was_never_live_a_file_and_what_is_over_are_not_blind(clock: Clock) -> None:
    new, file, over = watched(), watched(patience_seconds=None), watched()
    for standing in (file, over):
        standing.note_frame(at(10))
    over.end()
    clock.now_seconds += 60
    assert [s.status(COUNTS).blind for s in (new, file, over)] == [None] * 3


def test_what_is_over_stays_over() -> None:
    standing = watched()
    standing.end()
    standing.report(LIVE)
    standing.report(LOST)
    assert standing.status(COUNTS).state is SourceState.ENDED
    assert standing.status(COUNTS).reconnects == 0
