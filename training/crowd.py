"""Crowded pictures for the first stage: many things at once, so that each teaches much."""

from __future__ import annotations

import numpy as np

from streamvlm.evaluate.world.script import Script, Visit, draw_thing
from streamvlm.evaluate.world.things import DIRECTIONS, KINDS

_LONG = 2.0
"""Seconds that one crowd is there; its clip is taken in the middle."""


def crowds(seed: int, count: int) -> tuple[Script, list[float]]:
    """A script with `count` crowds one after the other, and the times of their clips."""
    rng = np.random.default_rng((seed, 7))
    visits = [visit for number in range(count) for visit in _crowd(rng, number * _LONG)]
    script = Script(seed=seed, seconds=count * _LONG, visits=tuple(visits))
    return script, [number * _LONG + _LONG / 2 - 0.5 for number in range(count)]


def _crowd(rng: np.random.Generator, start: float) -> list[Visit]:
    side = int(rng.choice([1, 2, 3], p=[0.15, 0.25, 0.6]))
    cells = [(column, row) for row in range(side) for column in range(side)]
    kinds = rng.permutation(len(KINDS))[: len(cells)]
    visits = []
    for kind, (column, row) in zip(kinds, cells, strict=True):
        if rng.random() < 0.15:
            continue
        place = (np.array([column, row]) + rng.uniform(0.2, 0.8, size=2)) / side
        step = np.zeros(2)
        if rng.random() < 0.5:
            step = np.array(list(DIRECTIONS.values())[rng.integers(4)]) * rng.uniform(0.1, 0.3)
        points = [place - step * _LONG / 2, place + step * _LONG / 2]
        visits.append(
            Visit(
                thing=draw_thing(rng, KINDS[kind]),
                times=(start, start + _LONG),
                points=tuple((float(x), float(y)) for x, y in points),
            )
        )
    return visits
