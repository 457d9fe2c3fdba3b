"""Questions about what is there now; one function a family."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from streamvlm.evaluate.world.drafts import (
    ABSENT_SHARE,
    NO_NUMBER,
    NOT_MOVING,
    Draft,
    Group,
    about_absent,
    about_now,
    absent_kind,
    choose,
)
from streamvlm.evaluate.world.history import History
from streamvlm.evaluate.world.things import COLORS, SHAPES
from streamvlm.evaluate.world.truth import Sight


def color(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The colour of the only thing of its shape."""
    if not history.now.is_clear:
        return
    shapes = [sight.thing.kind.shape for sight in history.now.present]
    for sight in history.now.present:
        kind = sight.thing.kind
        if shapes.count(kind.shape) == 1:
            yield about_now(history, {"shape": kind.shape}, kind.color)
    if rng.random() < ABSENT_SHARE:
        absent = [shape for shape in SHAPES if shape not in shapes]
        yield about_absent(history, {"shape": choose(rng, absent)})


def shape(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The shape of the only thing of its colour."""
    if not history.now.is_clear:
        return
    colors = [sight.thing.kind.color for sight in history.now.present]
    for sight in history.now.present:
        kind = sight.thing.kind
        if colors.count(kind.color) == 1:
            yield about_now(history, {"color": kind.color}, kind.shape)
    if rng.random() < ABSENT_SHARE:
        absent = [color for color in COLORS if color not in colors]
        yield about_absent(history, {"color": choose(rng, absent)})


def size(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """ "small" or "large"."""
    yield from _of_each(history, rng, lambda sight: sight.thing.size)


def where(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The zone of the picture."""
    yield from _of_each(history, rng, lambda sight: sight.zone)


def number(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The digits on it; asked of things without any too."""
    for draft in _of_each(history, rng, _number):
        is_none = draft.answer == NO_NUMBER
        if not is_none or rng.random() < ABSENT_SHARE:
            group: Group = "not answerable" if is_none else draft.group
            yield Draft(group, draft.slots, draft.answer, draft.event_seconds)


def moving(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """A direction, or that it does not move."""
    for draft in _of_each(history, rng, _motion):
        if draft.answer != NOT_MOVING or rng.random() < 0.3:
            yield draft


def count(history: History, _: np.random.Generator) -> Iterator[Draft]:
    """How many things are there."""
    if history.now.is_clear:
        yield about_now(history, {}, str(len(history.now.present)))


def _of_each(
    history: History, rng: np.random.Generator, answer: Callable[[Sight], str | None]
) -> Iterator[Draft]:
    """The same question about everything in view, and sometimes about what is not."""
    if not history.now.is_clear:
        return
    for sight in history.now.present:
        text = answer(sight)
        if text is not None:
            yield about_now(history, {"kind": sight.thing.kind}, text)
    if rng.random() < ABSENT_SHARE:
        yield about_absent(history, {"kind": absent_kind(history, rng)})


def _number(sight: Sight) -> str | None:
    if not sight.thing.plate:
        return NO_NUMBER
    return sight.thing.plate if sight.is_plate_whole else None


def _motion(sight: Sight) -> str | None:
    return NOT_MOVING if sight.moving == "still" else sight.moving
