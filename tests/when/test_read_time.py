"""What people say about when, seen from Saturday 2026-11-28 14:10 in Berlin unless told."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvlm.errors import InvalidInputError
from streamvlm.types import UtcInterval
from streamvlm.when import NamedTime, read_time, zone_named

BERLIN = ZoneInfo("Europe/Berlin")
NOW = "2026-11-28 14:10:00"
calm = settings(deadline=None)


def utc(local: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(local).replace(tzinfo=zone, fold=fold).timestamp()


def read(text: str, now: str = NOW, zone: ZoneInfo = BERLIN) -> NamedTime | None:
    return read_time(text, utc(now, zone), zone)


def local(text: str, now: str = NOW) -> list[str]:
    """The stretches of a text as clocks show them: "DAY HH:MM:SS - DAY HH:MM:SS"."""
    named = read(text, now)
    return [] if named is None else [_shown(each) for each in named.intervals]


def _shown(interval: UtcInterval) -> str:
    sides = (interval.start_seconds, interval.end_seconds)
    return " - ".join(
        f"{datetime.fromtimestamp(side, BERLIN):%d %H:%M:%S}" if math.isfinite(side) else "open"
        for side in sides
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what happened yesterday at 4 pm?", "27 15:58:00 - 27 16:02:00"),
        ("at 4:30 p.m. yesterday", "27 16:28:00 - 27 16:32:00"),
        ("yesterday 16:00", "27 15:58:00 - 27 16:02:00"),
        ("Who was there at 14:05:30?", "28 14:05:15 - 28 14:05:45"),
        ("around 13:00", "28 12:45:00 - 28 13:15:00"),
        ("at 9 in the evening", "27 20:58:00 - 27 21:02:00"),
        ("at 12 am", "27 23:58:00 - 28 00:02:00"),
        ("at 11 o'clock", "28 10:58:00 - 28 11:02:00"),
        ("at noon", "28 11:58:00 - 28 12:02:00"),
        ("how many came between 13:00 and 13:30", "28 13:00:00 - 28 13:30:00"),
        ("between 22:00 and 02:00", "27 22:00:00 - 28 02:00:00"),
        ("from 9 to 10 am", "28 09:00:00 - 28 10:00:00"),
        ("from 11 to 1 pm", "28 11:00:00 - 28 13:00:00"),
        ("between 9 and 10:30", "28 09:00:00 - 28 10:30:00"),
        ("9:30-10:45", "28 09:30:00 - 28 10:45:00"),
        ("from yesterday 22:00 until 6 am", "27 22:00:00 - 28 06:00:00"),
        ("from 3 pm yesterday to 9 am today", "27 15:00:00 - 28 09:00:00"),
        ("between 9 and 10 am on Monday", "23 09:00:00 - 23 10:00:00"),
        ("from Monday to Wednesday", "23 00:00:00 - 26 00:00:00"),
        ("from Friday to Tuesday", "20 00:00:00 - 25 00:00:00"),
        ("what was in the last 10 minutes?", "28 14:00:00 - 28 14:10:00"),
        ("in the past half an hour", "28 13:40:00 - 28 14:10:00"),
        ("in the last hour", "28 13:10:00 - 28 14:10:00"),
        ("the last 30s", "28 14:09:30 - 28 14:10:00"),
        ("between 5 and 10 minutes ago", "28 14:00:00 - 28 14:05:00"),
        ("Who came 5 minutes ago?", "28 14:04:30 - 28 14:05:30"),
        ("two hours ago", "28 11:40:00 - 28 12:40:00"),
        ("2 days ago", "26 00:00:00 - 27 00:00:00"),
        ("3 days ago at 10 am", "25 09:58:00 - 25 10:02:00"),
        ("since 9 am", "28 09:00:00 - 28 14:10:00"),
        ("since 3 pm", "27 15:00:00 - 28 14:10:00"),
        ("since yesterday", "27 00:00:00 - 28 14:10:00"),
        ("since 10 minutes ago", "28 14:00:00 - 28 14:10:00"),
        ("before noon", "28 00:00:00 - 28 12:00:00"),
        ("until 10 am on Monday", "23 00:00:00 - 23 10:00:00"),
        ("before yesterday", "open - 27 00:00:00"),
        ("after 1 pm", "28 13:00:00 - 28 14:10:00"),
        ("after 6 pm on Monday", "23 18:00:00 - 24 00:00:00"),
        ("this morning", "28 06:00:00 - 28 12:00:00"),
        ("this afternoon", "28 12:00:00 - 28 14:10:00"),
        ("last night", "27 18:00:00 - 28 06:00:00"),
        ("yesterday evening", "27 18:00:00 - 28 00:00:00"),
        ("on Monday", "23 00:00:00 - 24 00:00:00"),
        ("on Saturday", "28 00:00:00 - 28 14:10:00"),
        ("last Saturday", "21 00:00:00 - 22 00:00:00"),
        ("today", "28 00:00:00 - 28 14:10:00"),
        ("on 26 November at noon", "26 11:58:00 - 26 12:02:00"),
        ("on November 26th, 2026", "26 00:00:00 - 27 00:00:00"),
        ("on 2026-11-26", "26 00:00:00 - 27 00:00:00"),
        ("2026-11-27 15:30", "27 15:28:00 - 27 15:32:00"),
        ("2026-11-27T15:30:00", "27 15:29:45 - 27 15:30:15"),
        ("2026-11-27T15:30:00Z", "27 16:29:45 - 27 16:30:15"),
        ("at 2026-11-27 15:30 +05:30", "27 10:58:00 - 27 11:02:00"),
        ("between 2026-11-27T15:30Z and 2026-11-27 17:00", "27 16:30:00 - 27 17:00:00"),
        ("Yesterday, did anyone enter between 9 and 10 am?", "27 09:00:00 - 27 10:00:00"),
        ("tomorrow at 9 am", "29 08:58:00 - 29 09:02:00"),
        ("tonight", "28 18:00:00 - 29 06:00:00"),
    ],
)
def test_what_people_say_about_when(text: str, expected: str) -> None:
    assert local(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "what happened?",
        "Is number 157 parked here?",
        "gate 12 or gate 14?",
        "Is number 1600 at the door?",
        "the 3 may enter",
        "between 9 and 10 people",
        "the last 2 red cars",
        "the second car",
        "does the display show 16:00?",
        "is the score 10:30",
        "plate AB-12:30",
        "Room 4 pms",
        "on 2026-02-31",
        "at 25:00",
        "the first 5 minutes",
        "from gate 3 to gate 4",
        "£4.30 at the counter",
        "do they march 3 times",
        "99999999 minutes ago",
    ],
)
def test_what_names_no_time(text: str) -> None:
    assert read(text) is None


def test_several_times_are_all_meant() -> None:
    assert local("yesterday at 4 pm or this morning") == [
        "27 15:58:00 - 27 16:02:00",
        "28 06:00:00 - 28 12:00:00",
    ]


def test_the_words_that_were_read_are_told() -> None:
    named = read("Yesterday, did anyone come   between 9 and 10 am or at noon?")
    assert named is not None
    assert named.words == "Yesterday, between 9 and 10 am, Yesterday, at noon"


def test_after_midnight_the_night_is_still_yesterdays() -> None:
    assert local("tonight", now="2026-11-28 02:00:00") == ["27 18:00:00 - 28 02:00:00"]


def test_a_time_that_clocks_show_twice_is_meant_twice() -> None:
    now = "2026-10-25 12:00:00"
    named = read("today at 2:30", now)
    assert named is not None and "twice in Europe/Berlin" in named.notes[0]
    at = [(each.start_seconds + each.end_seconds) / 2 for each in named.intervals]
    assert at == [utc("2026-10-25 02:30"), utc("2026-10-25 02:30", fold=1)]
    named = read("between 2:15 and 2:45", now)
    assert named is not None
    assert [(each.start_seconds, each.end_seconds) for each in named.intervals] == [
        (utc("2026-10-25 02:15", fold=fold), utc("2026-10-25 02:45", fold=fold)) for fold in (0, 1)
    ]
    named = read("between 2:15 and 4:00", now)
    assert named is not None
    assert [(each.start_seconds, each.end_seconds) for each in named.intervals] == [
        (utc("2026-10-25 02:15"), utc("2026-10-25 04:00"))
    ]


def test_a_time_that_clocks_skip_is_moved_and_that_is_said() -> None:
    named = read("at 2:30", "2026-03-29 12:00:00")
    assert named is not None
    (at,) = named.intervals
    assert (at.start_seconds + at.end_seconds) / 2 == utc("2026-03-29 03:30")
    assert named.notes == (
        "2026-03-29 02:30 is skipped by the clocks of Europe/Berlin; taken as 03:30",
    )


def test_a_skipped_start_never_comes_after_its_end() -> None:
    named = read("between 2:45 and 3:15", "2026-03-29 12:00:00")
    assert named is not None
    (stretch,) = named.intervals
    assert (stretch.start_seconds, stretch.end_seconds) == (
        utc("2026-03-29 01:45"),
        utc("2026-03-29 03:15"),
    )
    assert "taken as 01:45" in named.notes[0]


def test_a_day_is_as_long_as_its_zone_has_it() -> None:
    named = read("yesterday", "2026-10-26 12:00:00")
    assert named is not None
    assert named.intervals[0].end_seconds - named.intervals[0].start_seconds == 25 * 3600


def test_the_same_words_are_other_moments_elsewhere() -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")
    named = read("at noon", "2026-11-28 14:10:00", kathmandu)
    assert named is not None
    assert named.intervals[0].start_seconds == utc("2026-11-28 11:58", kathmandu)


zones = st.sampled_from(
    [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe")]
)
moments = st.integers(int(utc("1971-01-02")), int(utc("2037-12-30")))


@calm
@given(moments, zones, st.integers(0, 10**8))
def test_any_moment_is_found_by_what_clocks_showed(
    at: int, zone: ZoneInfo, seconds_since: int
) -> None:
    shown = datetime.fromtimestamp(at, zone)
    for words in (
        f"on {shown:%Y-%m-%d} at {shown:%H:%M:%S}",
        f"at {shown:%I:%M:%S %p} on {shown.day} {shown:%B} {shown.year}",
        f"{shown.isoformat()}",
        f"between {shown:%Y-%m-%d %H:%M} and {shown + timedelta(minutes=1):%Y-%m-%d %H:%M}",
    ):
        named = read_time(words, at + seconds_since + 1, zone)
        assert named is not None, words
        assert any(each.start_seconds <= at < each.end_seconds for each in named.intervals), words


PIECES = (
    "at on between and from to since before after until last the 3 9 10 pm am 16:00 2:30 24:10 "
    "yesterday today tomorrow Monday night morning noon minutes hours days ago half an 2026-03-29 "
    "T Z , - 31 February this tonight 999999 weeks"
)
pieces = st.sampled_from(PIECES.split())


@calm
@given(st.lists(pieces, max_size=12).map(" ".join) | st.text(max_size=60), moments, zones)
def test_whatever_is_said_has_an_answer(text: str, now: int, zone: ZoneInfo) -> None:
    named = read_time(text, now, zone)
    if named is None:
        return
    assert named.words and named.intervals
    ends = [each.end_seconds for each in named.intervals[:-1]]
    assert all(
        end < later.start_seconds for end, later in zip(ends, named.intervals[1:], strict=True)
    )


def test_a_zone_has_a_name() -> None:
    assert zone_named("Asia/Kathmandu") == ZoneInfo("Asia/Kathmandu")
    assert zone_named("") == ZoneInfo("UTC")
    for wrong in ("Mars/Olympus", "../etc/passwd", "Europe", "+02:00", "x" * 5_000, "a\0b"):
        with pytest.raises(InvalidInputError, match="allowed: an IANA name") as raised:
            zone_named(wrong)
        assert len(str(raised.value)) < 200


def test_a_stretch_of_time_goes_forward() -> None:
    hour = UtcInterval(start_seconds=0.0, end_seconds=3600.0)
    assert hour.overlap(UtcInterval(start_seconds=1800.0)) == UtcInterval(
        start_seconds=1800.0, end_seconds=3600.0
    )
    assert hour.overlap(UtcInterval(start_seconds=3600.0)) is None
    for start, end in ((1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(InvalidInputError, match="must end after it starts"):
            UtcInterval(start_seconds=start, end_seconds=end)
