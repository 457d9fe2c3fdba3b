"""An alert begins once, lasts and ends once, under one id."""

from __future__ import annotations

from datetime import UTC, time
from typing import Any

from streamvlm.alerts import Alert, AlertRule, AlertState, Schedule
from streamvlm.types import ClockSource, StreamTime
from streamvlm.watch import Watch

FIRING, UPDATED, RESOLVED = AlertState.FIRING, AlertState.UPDATED, AlertState.RESOLVED
START = 1_790_000_000.0


def at(seconds: float) -> StreamTime:
    """This second of the stream."""
    return StreamTime(pts_seconds=seconds, utc_seconds=START + seconds, clock=ClockSource.RTCP_SR)


def watch(**settings: Any) -> Watch:
    """A rule on a stream."""
    return Watch(AlertRule(rule_id="rule", text="Is there a red circle?", **settings), "door")


def told(watching: Watch, margins: list[float], first: float = 0.0) -> list[Alert]:
    """The revisions that these looks lead to, one a second."""
    looks = [watching.look(at(first + second), each) for second, each in enumerate(margins)]
    return [alert for alert in looks if alert]


def test_one_event_is_one_alert() -> None:
    alerts = told(watch(), [-5, -5, 5, 5, 5, 5, -5, -5, -5])
    assert [alert.state for alert in alerts] == [FIRING, RESOLVED]
    assert len({alert.alert_id for alert in alerts}) == 1
    assert [alert.revision for alert in alerts] == [0, 1]
    assert alerts[0].began == at(2.0)
    assert alerts[0].observed == at(3.0)
    assert alerts[1].observed == at(7.0)


def test_what_lasts_is_told_again_now_and_then() -> None:
    alerts = told(watch(), [5.0] * 200)
    assert [alert.state for alert in alerts] == [FIRING, UPDATED, UPDATED, UPDATED]
    assert [alert.observed.pts_seconds for alert in alerts] == [1, 61, 121, 181]


def test_the_highest_score_is_kept() -> None:
    alerts = told(watch(), [5, 5, 9, 5, -5, -5])
    assert [alert.highest_score for alert in alerts] == [5, 9]


def test_the_cooldown_begins_with_the_delivery() -> None:
    watching = watch(cooldown_seconds=30)
    event = [5.0, 5.0, -5.0, -5.0]
    assert len(told(watching, event)) == 2
    assert len(told(watching, event, 10)) == 2, "the first reached nobody: nothing is silenced"
    watching.delivered(12.0)
    suppressed = told(watching, event, 20)
    assert [alert.state for alert in suppressed] == [AlertState.SUPPRESSED]
    assert [alert.state for alert in told(watching, event, 45)] == [FIRING, RESOLVED]


def test_what_outlasts_the_cooldown_is_told_then() -> None:
    watching = watch(cooldown_seconds=30)
    told(watching, [5, 5, -5, -5])
    watching.delivered(3.0)
    alerts = told(watching, [5.0] * 40, 10)
    assert [alert.state for alert in alerts] == [AlertState.SUPPRESSED, FIRING]
    assert len({alert.alert_id for alert in alerts}) == 1
    assert alerts[1].observed == at(33.0)


def test_a_lost_camera_ends_an_alert_without_saying_that_all_is_well() -> None:
    watching = watch()
    told(watching, [5, 5])
    ended = watching.lose(at(30.0))
    assert ended
    assert ended.state is AlertState.EXPIRED
    assert watching.lose(at(31.0)) is None


def test_a_restart_gives_the_same_event_the_same_id() -> None:
    margins = [-5.0, 5.0, 5.0]
    (one,), (other,) = told(watch(), margins), told(watch(), margins)
    assert one == other
    (later,) = told(watch(), margins, 5)
    assert later.alert_id != one.alert_id


def test_a_model_that_leans_to_yes_does_not_fire_forever() -> None:
    watching = watch()
    alerts = told(watching, [1.5] * 100 + [3.0] * 5)
    assert not alerts, "only 1.5 above what is usual"
    assert [alert.state for alert in told(watching, [6.0, 6.0], 200)] == [FIRING]


def test_a_sure_no_all_day_does_not_make_a_less_sure_no_a_yes() -> None:
    assert not told(watch(), [-9.0] * 100 + [-2.0] * 10)


def test_where_no_is_sure_all_day_a_likely_yes_is_enough() -> None:
    assert not told(watch(), [0.5] * 5), "nothing is known of the stream yet"
    alerts = told(watch(), [-6.0] * 100 + [0.5] * 3)
    assert [alert.state for alert in alerts] == [FIRING]


def test_a_rule_that_is_not_armed_is_silent() -> None:
    schedule = Schedule(weekdays=frozenset(range(7)), start=time(0), end=time(0, 1), timezone=UTC)
    midnight = -(START % 86_400) + 86_400
    alerts = told(watch(schedule=schedule), [5.0] * 120, midnight - 30)
    assert [alert.state for alert in alerts] == [FIRING, AlertState.EXPIRED]
    assert alerts[0].observed == at(midnight + 1)
    assert alerts[1].observed == at(midnight + 60)
