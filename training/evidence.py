"""Which visual tokens of a context show what a question is about."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from streamvlm.evaluate.world.questions import TruthQuestion
from streamvlm.evaluate.world.things import COLORS, SHAPES, Kind
from streamvlm.evaluate.world.truth import Look
from training.scenes import EncodedScene

HOPS = 2
"""To say what came after something, one has to find that first."""
_FROM_ANOTHER = ("before", "after", "left_before")
_TO_ITS_END = ("how_long",)
_READ_WHILE_THERE = ("number_was",)
"""Asked about the last look, where the thing is leaving."""


def evidence(
    scene: EncodedScene,
    shown: Sequence[tuple[int, Tensor]],
    looks: Sequence[Look],
    questions: Sequence[TruthQuestion],
) -> Tensor:
    """bool [questions, HOPS, V]: the visual tokens that show what each question is about; none
    where that is nothing or the whole picture.

    `shown` is which rows of which clips the context has, `looks` the truth that was asked about.
    """
    visits = torch.cat([scene.owners[clip][rows] for clip, rows in shown])
    starts = torch.cat([torch.full((len(rows),), _start(scene, clip)) for clip, rows in shown])
    kinds = {sight.visit: sight.thing.kind for look in looks for sight in look.sights}
    at = {look.seconds: look for look in looks}
    found = torch.zeros(len(questions), HOPS, len(visits), dtype=torch.bool)
    for number, question in enumerate(questions):
        kind = _kind(question.answer, question.text, f"{question.text} {question.answer}")
        for sight in at[question.event_seconds].sights:
            own = visits == sight.visit
            until_then = own & (starts <= question.event_seconds)
            if sight.thing.kind != kind or not until_then.any():
                continue
            found[number] = until_then & (starts == starts[until_then].max())
            if question.family in _READ_WHILE_THERE:
                found[number] = _readable(until_then, starts, sight.visit, looks)
            if question.family in _TO_ITS_END:
                found[number, 1] = own & (starts == starts[own].max())
        if question.family in _FROM_ANOTHER and found[number].any():
            asked_about = _kind(question.text)
            own = torch.tensor([kinds.get(visit) == asked_about for visit in visits.tolist()])
            if own.any():
                found[number, 0] = own & (starts == starts[own].min())
    return found


def _readable(own: Tensor, starts: Tensor, visit: int, looks: Sequence[Look]) -> Tensor:
    """bool [V]: of these tokens of a visit those of the newest clip that shows all of its number,
    at rest if there is such a clip; of the newest where there is none.
    """
    sights = [(look.seconds, s) for look in looks for s in look.sights if s.visit == visit]
    whole = [seconds for seconds, sight in sights if sight.is_plate_whole]
    at_rest = [
        seconds for seconds, sight in sights if sight.is_plate_whole and sight.moving == "still"
    ]
    for wanted in (at_rest, whole):
        shown = own & torch.isin(starts, torch.tensor(wanted, dtype=starts.dtype))
        if shown.any():
            own = shown
            break
    return own & (starts == starts[own].max())


def _start(scene: EncodedScene, clip: int) -> float:
    return scene.looks[scene.encoded[clip]].seconds


def _kind(*texts: str) -> Kind | None:
    """The kind of thing that is named in the first of these in which one is."""
    for text in texts:
        colors, shapes = (_found(words, text) for words in (COLORS, SHAPES))
        if colors and shapes:
            return Kind(colors[0], shapes[0])
    return None


def _found(words: Collection[str], text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text) if word in words]
