"""Questions about what was there before; one function a family."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamvlm.evaluate.world.drafts import (
    NOTHING,
    Draft,
    about_never,
    about_past,
    choose,
    unseen_kind,
)
from streamvlm.evaluate.world.history import History
from streamvlm.evaluate.world.things import ZONES

_NOTHING_SHARE = 0.3
"""Of the questions to which the answer is "nothing", how many are asked: the others would make it
the best guess.
"""


def first(history: History, _: np.random.Generator) -> Iterator[Draft]:
    """The kind that came first."""
    if history.stays and [stay.first for stay in history.stays].count(history.stays[0].first) == 1:
        yield about_past(history, {}, history.stays[0].thing.kind, history.stays[0].first)


def last(history: History, _: np.random.Generator) -> Iterator[Draft]:
    """The kind that came last."""
    is_clear = history.now.is_clear  # what is half in view has come last, or has not
    if is_clear and history.stays and history.is_apart(len(history.stays) - 1):
        yield about_past(history, {}, history.stays[-1].thing.kind, history.stays[-1].first)


def before(history: History, _: np.random.Generator) -> Iterator[Draft]:
    """The kind whose arrival was the one before."""
    for index, stay in enumerate(history.stays[1:], start=1):
        if stay in history.single_stays and history.is_apart(index):
            earlier = history.stays[index - 1]
            if index == 1 or history.is_apart(index - 1):
                yield about_past(
                    history, {"kind": stay.thing.kind}, earlier.thing.kind, earlier.first
                )


def after(history: History, _: np.random.Generator) -> Iterator[Draft]:
    """The kind whose arrival was the one after."""
    for index, stay in enumerate(history.stays[:-1]):
        if stay in history.single_stays and history.is_apart(index):
            later = history.stays[index + 1]
            if history.is_apart(index + 1):
                yield about_past(history, {"kind": stay.thing.kind}, later.thing.kind, later.first)


def when(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The stream time of the clip that showed it first."""
    for stay in history.single_stays:
        seconds = f"{history.seconds(stay.first):.1f} seconds"
        yield about_past(history, {"kind": stay.thing.kind}, seconds, stay.first)
    yield from about_never(history, rng)


def how_long(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Whole seconds from its first clip to the end of its last."""
    for stay in history.single_stays:
        if stay.last < len(history.looks) - 2:
            length = history.seconds(stay.last) - history.seconds(stay.first) + 1
            yield about_past(
                history, {"kind": stay.thing.kind}, f"{round(length)} seconds", stay.first
            )
    yield from about_never(history, rng)


def times(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """How many times it came; mostly asked of what came again, if anything did."""
    there = {sight.thing.kind for sight in history.now.sights}
    unclear = there - {sight.thing.kind for sight in history.now.present}
    is_about_again = rng.random() < 0.7 and any(
        len(stays) > 1 for stays in history.of_kind.values()
    )
    for kind, stays in history.of_kind.items():
        if kind not in unclear and (len(stays) > 1 or not is_about_again):
            yield about_past(history, {"kind": kind}, str(len(stays)), stays[-1].first)


def ever(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """Whether it came at all."""
    if history.of_kind and rng.random() < 0.5:
        kind = choose(rng, list(history.of_kind))
        yield about_past(history, {"kind": kind}, "yes", history.of_kind[kind][-1].first)
    else:
        yield Draft("past", {"kind": unseen_kind(history, rng)}, "no", history.now.seconds)


def left_before(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The only thing in the left third, or nothing, in the clip before an arrival."""
    columns = {row[0] for row in ZONES}
    for stay in history.single_stays:
        before = history.looks[stay.first - 1]
        # What slides in from the left must not count as having been there.
        others = [each for each in before.sights if each.thing.kind != stay.thing.kind]
        if before.is_black or any(each.zone is None or each.visible < 0.75 for each in others):
            continue
        left = [each.thing.kind for each in others if each.zone in columns]
        if len(left) == 1 or (not left and rng.random() < _NOTHING_SHARE):
            answer = left[0] if left else NOTHING
            yield about_past(history, {"kind": stay.thing.kind}, answer, stay.first - 1)


def number_was(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The digits on something that is gone."""
    now = {sight.thing.kind for sight in history.now.sights}
    for kind, stays in history.of_kind.items():
        plates = {stay.thing.plate for stay in stays}
        was_whole = any(stay.was_plate_whole for stay in stays)
        if kind not in now and was_whole and len(plates) == 1 and (plate := plates.pop()):
            yield about_past(history, {"kind": kind}, plate, stays[-1].last)
    yield from about_never(history, rng)


def at_time(history: History, rng: np.random.Generator) -> Iterator[Draft]:
    """The only thing in view at a time, or nothing, where the clips around show the same."""
    for index in rng.permutation(len(history.looks))[:6]:
        look = history.looks[index]
        around = history.looks[max(0, index - 1) : index + 2]
        kinds = [{sight.thing.kind for sight in each.sights} for each in around]
        is_clear = all(each.is_clear for each in around)
        is_wanted = len(kinds[0]) == 1 or (not kinds[0] and rng.random() < _NOTHING_SHARE)
        if is_clear and is_wanted and all(each == kinds[0] for each in kinds):
            answer = next(iter(kinds[0])) if kinds[0] else NOTHING
            yield about_past(history, {"seconds": int(look.seconds)}, answer, int(index))
