"""What can be asked, before it is put into words, and things that are not there to ask about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from streamvlm.evaluate.world.history import History
from streamvlm.evaluate.world.things import KINDS, Kind

_T = TypeVar("_T")

Group = Literal["now", "past", "not answerable", "yes/no"]

NOT_THERE = "not there"
"""The answer about something that is not in view now."""
NOT_SEEN = "not seen"
"""The answer about something that was never in view."""
NO_NUMBER = "no number"
NOT_MOVING = "not moving"
NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Draft:
    """What a family can ask, before it is put into words."""

    group: Group
    slots: dict[str, object]
    answer: str
    event_seconds: float


ABSENT_SHARE = 0.25
"""How often a family also offers a question about something that is not there."""


def about_now(history: History, slots: dict[str, object], answer: str) -> Draft:
    """A question about the newest look."""
    return Draft("now", slots, answer, history.now.seconds)


def about_past(history: History, slots: dict[str, object], answer: object, index: int) -> Draft:
    """A question about the look of this index."""
    return Draft("past", slots, str(answer), history.seconds(index))


def condition(history: History, slots: dict[str, object], *, holds: bool) -> Draft:
    """A question that is answered yes or no."""
    return Draft("yes/no", slots, "yes" if holds else "no", history.now.seconds)


def about_absent(history: History, slots: dict[str, object]) -> Draft:
    """A question about something that is not there now."""
    return Draft("not answerable", slots, NOT_THERE, history.now.seconds)


def about_never(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Sometimes a question about something that never came."""
    if rng.random() < ABSENT_SHARE:
        slots: dict[str, object] = {"kind": unseen_kind(history, rng)}
        yield Draft("not answerable", slots, NOT_SEEN, history.now.seconds)


def absent_kind(history: History, rng: np.random.Generator) -> Kind:
    """Something that is not in view, often alike what is or was."""
    there = {sight.thing.kind for sight in history.now.sights}
    return _confusable(rng, there, list(history.glimpsed))


def unseen_kind(history: History, rng: np.random.Generator) -> Kind:
    """Something that was never in view, often alike what was."""
    return _confusable(rng, history.glimpsed, [])


def _confusable(rng: np.random.Generator, never: set[Kind], gone: list[Kind]) -> Kind:
    alike = [
        kind
        for kind in KINDS
        if any((kind.color == each.color) != (kind.shape == each.shape) for each in never)
    ]
    past = [kind for kind in sorted(gone, key=str) if kind not in never]
    choice = rng.random()
    pool = past if past and choice < 0.4 else alike if alike and choice < 0.7 else list(KINDS)
    free = [kind for kind in pool if kind not in never]
    return choose(rng, free or [kind for kind in KINDS if kind not in never])


def choose(rng: np.random.Generator, values: Sequence[_T]) -> _T:
    """One of them."""
    return values[int(rng.integers(len(values)))]
