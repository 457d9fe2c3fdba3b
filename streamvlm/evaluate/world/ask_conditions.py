"""Yes-or-no questions about now, as alert rules put them; one function a family."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamvlm.evaluate.world.drafts import (
    Draft,
    absent_kind,
    choose,
    condition,
)
from streamvlm.evaluate.world.history import History
from streamvlm.evaluate.world.things import ZONES


def is_there(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Whether something of this kind is there."""
    if not history.now.is_clear or _is_empty(history, rng):
        return
    if history.now.present and rng.random() < 0.5:
        sight = choose(rng, history.now.present)
        yield condition(history, {"kind": sight.thing.kind}, holds=True)
    else:
        yield condition(history, {"kind": absent_kind(history, rng)}, holds=False)


def is_moving(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Whether it moves."""
    if not history.now.is_clear:
        return
    wanted = bool(rng.random() < 0.5)
    for sight in history.now.present:
        if sight.moving and (sight.moving != "still") == wanted:
            yield condition(history, {"kind": sight.thing.kind}, holds=wanted)


def is_at(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Whether anything is in this zone."""
    sights = history.now.present
    is_between = any(sight.zone is None for sight in sights)
    if not history.now.is_clear or is_between or _is_empty(history, rng):
        return
    taken = {sight.zone for sight in sights if sight.zone}
    free = [zone for row in ZONES for zone in row if zone not in taken]
    holds = bool(taken) and rng.random() < 0.5
    yield condition(history, {"zone": choose(rng, sorted(taken) if holds else free)}, holds=holds)


def more_than(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Whether there are more things than this."""
    if not history.now.is_clear or _is_empty(history, rng):
        return
    there = len(history.now.present)
    holds = there > 0 and rng.random() < 0.5
    asked = rng.integers(0, there) if holds else rng.integers(there, there + 2)
    yield condition(history, {"count": int(asked)}, holds=holds)


def _is_empty(history: History, rng: np.random.Generator) -> bool:
    """Whether nothing is there and that was asked about often enough: the answer is always no."""
    return not history.now.present and rng.random() < 0.8
