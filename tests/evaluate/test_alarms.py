"""Alarms against events, counted by hand."""

from __future__ import annotations

import pytest

from streamvlm.evaluate.alarms import Event, events_of, score
from streamvlm.evaluate.world.script import Script, Visit
from streamvlm.evaluate.world.things import Kind, Thing
from streamvlm.evaluate.world.truth import looks

EVENTS = [Event(start=10, end=20), Event(start=100, end=110), Event(start=200, end=205)]


def test_hits_repeats_and_false_alarms_are_told_apart() -> None:
    found = score(EVENTS, [12.0, 18.0, 50.0, 114.0, 116.0], seconds=7200, looks=900)
    assert (found.events, found.hits, found.alarms, found.false_alarms) == (3, 2, 5, 2)
    assert found.recall == pytest.approx(2 / 3)
    assert found.alarms_an_event == pytest.approx(3 / 2)
    assert found.false_alarms_an_hour == 1.0
    assert found.looks_an_hour == 450
    assert found.delays == (2.0, 14.0)
    assert found.delay_seconds == pytest.approx((8.0, 13.4))


def test_hours_without_events_have_no_recall_but_false_alarms() -> None:
    found = score([], [3.0], seconds=3600, looks=3600)
    assert (found.recall, found.alarms_an_event, found.delay_seconds) == (None, None, None)
    assert found.false_alarms_an_hour == 1.0


def test_an_alarm_before_its_event_is_false() -> None:
    assert score(EVENTS[:1], [9.5], seconds=60, looks=1).false_alarms == 1


def test_scores_add_up() -> None:
    one = score(EVENTS, [12.0], seconds=3600, looks=10)
    both = one + score([], [1.0], seconds=3600, looks=20)
    assert (both.events, both.hits, both.false_alarms, both.looks) == (3, 1, 1, 30)
    assert both.hours == 2.0


def test_events_are_when_a_kind_is_there_long_enough() -> None:
    red, blue = Kind("red", "circle"), Kind("blue", "star")
    thing = Thing(kind=red, size="large", radius=0.12, plate="")

    def visit(*times: float) -> Visit:
        return Visit(thing=thing, times=times, points=((0.5, 0.5), (0.5, 0.5)))

    script = Script(
        seed=1, seconds=120.0, visits=(visit(10, 20), visit(26, 40), visit(80, 81), visit(100, 104))
    )
    shown = looks(script, [float(second) for second in range(120)])
    found = events_of(shown, red)
    assert [round(event.start) for event in found] == [10, 100], "one comes back, one is too short"
    assert found[0].end == pytest.approx(40, abs=1)
    assert events_of(shown, blue) == []
