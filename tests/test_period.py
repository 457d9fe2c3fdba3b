"""A camera that was switched on at noon, was blind from 13:00 to 13:10, and had its clock set on by
an hour then; it is 14:30 by that clock now, and what was before 12:20 is forgotten.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamvlm.errors import TimeAheadError, TimeNotRememberedError
from streamvlm.period import Period, period_of
from streamvlm.types import ClockSource, Gap, Interval, Question, StreamTime, UtcInterval


def utc(clock: str) -> float:
    return datetime.fromisoformat(f"2026-11-28 {clock}+00:00").timestamp()


def at(minutes: float, clock: str) -> StreamTime:
    """So many minutes after noon in the stream, when the camera's clock shows this."""
    return StreamTime(pts_seconds=minutes * 60.0, utc_seconds=utc(clock), clock=ClockSource.RTCP_SR)


def stretch(start: StreamTime, end: StreamTime) -> Interval:
    return Interval(start=start, end=end)


REMEMBERED = [
    stretch(at(20, "12:20"), at(40, "12:40")),
    stretch(at(40, "12:40"), at(60, "13:00")),
    stretch(at(70, "14:10"), at(90, "14:30")),
]
GAPS = [Gap(interval=stretch(at(60, "13:00"), at(70, "13:10")), reason="SOURCE_LOST")]


def asked(text: str, during: UtcInterval | None = None, blind: Gap | None = None) -> Period | None:
    question = Question(question_id="q", stream_id="door", text=text, during=during)
    return period_of(question, REMEMBERED, GAPS, blind, UTC)


def minutes(period: Period | None) -> list[tuple[float, float]]:
    assert period is not None
    return [(round(start / 60, 3), round(end / 60, 3)) for start, end in period.within]


def unknown(period: Period | None) -> list[tuple[str, float]]:
    """Reasons, and how many minutes each is long."""
    assert period is not None
    return [
        (each.reason, (each.interval.end_seconds - each.interval.start_seconds) / 60)
        for each in period.asked.unknown
    ]


def test_without_a_time_everything_is_asked_about() -> None:
    assert asked("what happened?") is None


def test_a_time_is_found_where_the_camera_shows_it() -> None:
    period = asked("what happened between 12:30 and 12:50?")
    assert minutes(period) == [(30, 50)] and unknown(period) == []
    assert period is not None and period.asked.words == "between 12:30 and 12:50"


def test_a_clock_that_was_set_on_is_followed() -> None:
    assert minutes(asked("between 14:15 and 14:20")) == [(75, 80)]
    assert minutes(asked("in the last 10 minutes")) == [(80, 90)]


def test_what_is_not_known_of_it_is_told_with_its_reason() -> None:
    period = asked("between 12:10 and 14:12")
    assert minutes(period) == [(20, 60), (70, 72)]
    assert unknown(period) == [("BEFORE_MEMORY", 10), ("SOURCE_LOST", 10), ("NOT_SEEN", 60)]


def test_an_interval_counts_before_the_text() -> None:
    period = asked("yesterday?", UtcInterval(start_seconds=utc("12:25"), end_seconds=utc("12:26")))
    assert minutes(period) == [(25, 26)] and period and period.asked.words == ""


def test_an_interval_may_be_open_on_either_side() -> None:
    assert minutes(asked("?", UtcInterval(end_seconds=utc("12:30")))) == [(20, 30)]
    period = asked("?", UtcInterval(start_seconds=utc("14:20")))
    assert minutes(period) == [(80, 90)] and unknown(period) == []
    assert period and period.asked.intervals[0].end_seconds == utc("14:30")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "at 12:05",
            r"nothing is remembered of 'at 12:05'.*BEFORE_MEMORY; memory begins at .*12:2",
        ),
        ("yesterday at 4 pm", r"2026-11-27 15:58:00 UTC to 2026-11-27 16:02:00 UTC\): BEFORE"),
        ("at 13:05", "SOURCE_LOST; memory"),
        ("at 13:30", "NOT_SEEN; memory"),
    ],
)
def test_a_time_of_which_nothing_is_known_is_refused(text: str, said: str) -> None:
    with pytest.raises(TimeNotRememberedError, match=said):
        asked(text)


def test_an_outage_that_goes_on_is_a_reason_too() -> None:
    blind = Gap(interval=stretch(at(90, "14:30"), at(110, "14:50")), reason="SOURCE_STALLED")
    with pytest.raises(TimeNotRememberedError, match="SOURCE_STALLED"):
        asked("in the last 10 minutes", blind=blind)
    period = asked("in the last half an hour", blind=blind)
    assert minutes(period) == [(80, 90)] and unknown(period) == [("SOURCE_STALLED", 20)]


def test_a_time_that_is_ahead_is_refused_and_named() -> None:
    with pytest.raises(TimeAheadError, match=r"'tomorrow at 9 am' \(2026-11-29.*it is .*14:30:00"):
        asked("tomorrow at 9 am")
    with pytest.raises(TimeAheadError, match="is ahead"):
        asked("?", UtcInterval(start_seconds=1e18))


def test_holes_shorter_than_a_clip_are_none() -> None:
    pieces = [
        stretch(at(0, "12:00:00"), at(1, "12:01:00")),
        stretch(at(1.02, "12:01:01"), at(2, "12:02:00")),
    ]
    question = Question(question_id="q", stream_id="door", text="since 12:00:10")
    period = period_of(question, pieces, [], None, UTC)
    assert period is not None and period.asked.unknown == ()


def test_seconds_of_the_stream_are_found_by_the_clock_of_their_piece() -> None:
    assert minutes(asked("what was there at 1830 seconds?")) == [(30.25, 30.75)]
    assert minutes(asked("what happens 1:15:00 into the stream?")) == [(74.75, 75.25)]
    with pytest.raises(TimeNotRememberedError, match="at 30 seconds"):
        asked("what was there at 30 seconds?")
    with pytest.raises(TimeAheadError, match="100 minutes into the video"):
        asked("what happens 100 minutes into the video?")
