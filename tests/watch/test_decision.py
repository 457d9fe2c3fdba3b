"""From scores to whether a condition holds, on scripted sequences."""

from __future__ import annotations

from typing import Any

import pytest

from streamvlm.alerts import AlertRule
from streamvlm.watch import Decision, Holding

NO, PENDING, YES = Holding.NO, Holding.PENDING, Holding.YES


def held(scores: list[float], **settings: Any) -> list[Holding]:
    """What is judged after each of these looks, one a second."""
    decision = Decision(AlertRule(rule_id="r", text="Is there a red circle?", **settings))
    return [decision.look(float(second), score).holding for second, score in enumerate(scores)]


def test_one_look_is_not_enough() -> None:
    assert held([-3, 5, -3, -3]) == [NO] * 4


def test_two_of_three_looks_begin_it_and_two_of_three_end_it() -> None:
    assert held([-3, 5, -3, 5, 5, -1, 5, 5, -1]) == [NO] * 3 + [YES] * 6
    assert held([5, 5, -1, 5, -1, -1]) == [NO, YES, YES, YES, NO, NO]


def test_between_the_thresholds_nothing_changes() -> None:
    assert held([1.9, 1.9, 1.9]) == [NO] * 3
    assert held([2.0, 2.0, 0.1, 0.1, 0.1]) == [NO, YES, YES, YES, YES]


def test_what_spoke_against_it_before_does_not_end_it() -> None:
    assert held([-3, -3, 5, 5], needed_looks=1, considered_looks=3) == [NO, NO, YES, YES]


def test_it_must_last() -> None:
    assert held([5] * 5, min_duration_seconds=3) == [NO, PENDING, PENDING, YES, YES]
    assert held([5, 5, -1, -1, 5], min_duration_seconds=3) == [NO, PENDING, PENDING, NO, NO]


def test_the_same_look_twice_counts_once() -> None:
    decision = Decision(AlertRule(rule_id="r", text="Is there a red circle?"))
    assert [decision.look(at, 5.0).holding for at in (1.0, 1.0, 0.5, 1.0)] == [NO] * 4
    assert decision.look(1.5, 5.0).holding is YES


def test_it_says_since_when() -> None:
    decision = Decision(AlertRule(rule_id="r", text="Is there a red circle?"))
    decision.look(10.0, 5.0)
    decision.look(11.0, -5.0)
    judged = decision.look(12.0, 5.0)
    assert (judged.has_changed, judged.since_seconds) == (True, 10.0)
    assert not decision.look(13.0, 5.0).has_changed


def test_nothing_is_carried_over_what_nobody_saw() -> None:
    decision = Decision(AlertRule(rule_id="r", text="Is there a red circle?"))
    decision.look(1.0, 5.0)
    decision.forget()
    assert decision.look(2.0, 5.0).holding is NO


@pytest.mark.parametrize("seed", range(5))
def test_noise_between_the_thresholds_never_flaps(seed: int) -> None:
    import random

    noise = random.Random(seed)
    found = held([5, 5] + [noise.uniform(0.0, 1.99) for _ in range(200)])
    assert found[1:] == [YES] * 201


@pytest.mark.parametrize(
    ("scores", "is_settled"),
    [
        ([], True),
        ([-1], True),
        ([1], False),
        ([5], False),
        ([5, 5, 5], True),
        ([5, 5, 1], False),
        ([5, 5, -1], False),
        ([5, 5, -1, -1], True),
    ],
)
def test_only_what_is_clear_is_settled(scores: list[float], is_settled: bool) -> None:
    decision = Decision(AlertRule(rule_id="r", text="Is there a red circle?"))
    for second, score in enumerate(scores):
        decision.look(float(second), score)
    assert decision.is_settled is is_settled
