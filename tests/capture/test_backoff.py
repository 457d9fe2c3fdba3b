"""When a camera is called again."""

from __future__ import annotations

import random

import pytest

from streamvlm.capture.backoff import Backoff
from streamvlm.errors import SourceAuthError, SourceError, SourceLostError

LOST, REFUSED = SourceLostError("lost"), SourceAuthError("refused")


class Highest(random.Random):
    """Draws the upper bound, so that a test sees it."""

    def uniform(self, a: float, b: float) -> float:
        assert a <= b
        return b


@pytest.mark.parametrize(
    ("failures", "waits_seconds"),
    [
        ([(LOST, 0.0)] * 8, [0.5, 1, 2, 4, 8, 16, 30, 30]),
        ([(REFUSED, 0.0), (REFUSED, 0.0), (LOST, 0.0)], [60, 60, 0.5]),
        ([(LOST, 0.0), (LOST, 0.0), (LOST, 59.0), (LOST, 60.0), (LOST, 1.0)], [0.5, 1, 2, 0.5, 1]),
        ([(LOST, 0.0)] * 2_000, [0.5, 1, 2, 4, 8, 16, *[30] * 1_994]),
    ],
    ids=["doubles", "refused", "healthy", "for ever"],
)
def test_waits_grow_to_a_bound_and_start_anew_after_health(
    failures: list[tuple[SourceError, float]], waits_seconds: list[float]
) -> None:
    backoff = Backoff(random=Highest())
    waited = [backoff.wait_seconds(failure, lived_seconds=lived) for failure, lived in failures]
    assert waited == waits_seconds


def test_waits_are_spread_and_never_nothing() -> None:
    waited = []
    for seed in range(200):
        backoff = Backoff(random=random.Random(seed))
        for _ in range(4):
            last_seconds = backoff.wait_seconds(LOST, lived_seconds=0.0)
        waited.append(last_seconds)
    assert 0.125 <= min(waited) < 1 < 3 < max(waited) <= 4
