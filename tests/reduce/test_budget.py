"""The token budget, over days of scenes that it does not know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streamvlm.reduce.budget import Allowance, TokenBudget

CELLS, DAY = 256, 24 * 3600
BUDGET = TokenBudget(tokens_per_second=20.0)

Scene = Callable[[int, np.random.Generator], np.ndarray]


def calm(second: int, rng: np.random.Generator) -> np.ndarray:
    return rng.exponential(0.004, CELLS)


def storm(second: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.0, 1.5, CELLS)


def street(second: int, rng: np.random.Generator) -> np.ndarray:
    """Quiet nights, busy days, and a thing that comes now and then."""
    busy = 0.002 + 0.05 * (1 - np.cos(2 * np.pi * second / DAY))
    change = rng.exponential(busy, CELLS)
    if second % 97 < 8:
        change[:40] += rng.uniform(0.3, 1.0, 40)
    return change


def flashing(second: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0.5, 1.0, CELLS) if second % 10 == 0 else rng.exponential(0.002, CELLS)


def day_and_night(second: int, rng: np.random.Generator) -> np.ndarray:
    return (storm if (second // 3600) % 2 else calm)(second, rng)


def spend(scene: Scene, seconds: int, budget: TokenBudget = BUDGET) -> list[int]:
    """Tokens kept of each clip of one second."""
    rng, allowance = np.random.default_rng(0), budget.begin(0.0)
    kept = []
    for second in range(seconds):
        allowance = budget.advance(allowance, float(second))
        wanted = int((scene(second, rng) > allowance.threshold).sum())
        kept.append(min(wanted, allowance.max_kept))
        allowance = budget.settle(allowance, wanted=wanted, kept=kept[-1], seconds=1.0)
    return kept


@pytest.mark.parametrize("scene", [calm, storm, street, flashing, day_and_night])
def test_a_day_of_any_scene_stays_within_two_per_cent_of_the_budget(scene: Scene) -> None:
    kept = spend(scene, DAY)
    assert sum(kept) == pytest.approx(BUDGET.tokens_per_second * DAY, rel=0.02)


def test_in_no_hour_is_more_kept_than_rate_and_burst_allow() -> None:
    kept = np.array(spend(day_and_night, 6 * 3600))
    for seconds in (60, 3600):
        windows = np.convolve(kept, np.ones(seconds), mode="valid")
        assert windows.max() <= BUDGET.tokens_per_second * seconds + BUDGET.burst_tokens


def test_a_cut_after_a_calm_is_kept_whole() -> None:
    def cut(second: int, rng: np.random.Generator) -> np.ndarray:
        return storm(second, rng) + 0.5 if second == 1800 else calm(second, rng)

    assert spend(cut, 1801)[-1] == CELLS


def test_what_comes_after_a_storm_is_not_starved_for_long() -> None:
    def after(second: int, rng: np.random.Generator) -> np.ndarray:
        if second < 3600:
            return storm(second, rng)
        change = calm(second, rng)
        change[:10] += 0.5
        return change

    kept = spend(after, 3600 + 120)
    assert min(kept[3600 + 60 :]) >= 10


def test_a_cut_moves_no_threshold_and_time_that_goes_back_fills_nothing() -> None:
    allowance = Allowance(threshold=0.3, level=100.0, pts_seconds=50.0)
    settled = BUDGET.settle(allowance, wanted=256, kept=100, seconds=1.0, is_cut=True)
    assert (settled.threshold, settled.level) == (0.3, 0.0)
    assert BUDGET.advance(settled, 40.0).level == 0.0
    assert BUDGET.advance(settled, 50.5).max_kept == 10


def test_more_than_was_allowed_is_our_mistake() -> None:
    allowance = Allowance(threshold=0.3, level=9.9, pts_seconds=0.0)
    with pytest.raises(ValueError, match="kept 10 tokens, allowed were 9"):
        BUDGET.settle(allowance, wanted=10, kept=10, seconds=1.0)
