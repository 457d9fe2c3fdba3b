"""What a rule may say, and when it is armed."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from streamvlm.alerts import AlertRule, Schedule
from streamvlm.errors import RuleError

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"text": "  "}, "needs a text"),
        ({"text": "x" * 1001}, "got 1001"),
        ({"enter_threshold": 1.0, "leave_threshold": 1.0}, "got 1.0 and 1.0"),
        ({"enter_threshold": float("nan")}, "nan"),
        ({"needed_looks": 0}, "got 0 and 3"),
        ({"needed_looks": 4}, "got 4 and 3"),
        ({"considered_looks": 21}, "got 2 and 21"),
        ({"min_duration_seconds": -1.0}, "min_duration_seconds must be in 0..86400, got -1.0"),
        ({"cooldown_seconds": float("inf")}, "cooldown_seconds must be in 0..86400, got inf"),
    ],
)
def test_a_wrong_rule_names_the_value(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(RuleError, match=told.replace(".", r"\.")):
        AlertRule(**{"rule_id": "r", "text": "Is there a red circle?", **wrong})


def test_a_rule_watches_its_streams_or_all() -> None:
    assert AlertRule(rule_id="r", text="?").watches("door")
    some = AlertRule(rule_id="r", text="?", stream_ids=frozenset({"gate"}))
    assert some.watches("gate")
    assert not some.watches("door")


def armed(schedule: Schedule, *moment: int) -> bool:
    """Whether it is at this local time of 2026, given as month, day, hour, minute."""
    return schedule.is_armed(datetime(2026, *moment, tzinfo=BERLIN).astimezone(UTC).timestamp())


def test_a_schedule_is_in_the_time_of_the_camera() -> None:
    office = Schedule(weekdays=frozenset(range(5)), start=time(9), end=time(17), timezone=BERLIN)
    assert armed(office, 11, 20, 9, 0)
    assert not armed(office, 11, 20, 17, 0)
    assert not armed(office, 11, 21, 12, 0), "a Saturday"
    assert armed(office, 7, 1, 9, 0), "in summer time too"


def test_a_night_belongs_to_the_day_on_which_it_starts() -> None:
    night = Schedule(weekdays=frozenset({4}), start=time(22), end=time(6), timezone=BERLIN)
    assert armed(night, 11, 20, 23, 0)
    assert armed(night, 11, 21, 5, 59)
    assert not armed(night, 11, 20, 5, 0), "that night began on Thursday"
    assert not armed(night, 11, 21, 22, 30)


def test_a_wrong_schedule_is_named() -> None:
    with pytest.raises(RuleError, match=r"got \[7\]"):
        Schedule(weekdays=frozenset({1, 7}), start=time(1), end=time(2), timezone=UTC)
    with pytest.raises(RuleError, match="at least one weekday"):
        Schedule(weekdays=frozenset(), start=time(1), end=time(2), timezone=UTC)
