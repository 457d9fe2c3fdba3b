"""Questions about a synthetic scene whose right answers are known, asked at any moment of it.

Each family looks at what was shown so far and says what can be asked without doubt; what is unclear
is left out. A question about the past is about what the given looks show and nothing before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamvlm.evaluate.world import ask_conditions, ask_now, ask_past
from streamvlm.evaluate.world.drafts import Draft, Group
from streamvlm.evaluate.world.history import History
from streamvlm.evaluate.world.phrasings import PHRASINGS, Split
from streamvlm.evaluate.world.truth import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthQuestion:
    """A question and its right answer."""

    family: str
    group: Group
    text: str
    answer: str
    asked_seconds: float
    """Stream time when the newest clip was taken: it is asked then."""
    event_seconds: float
    """Stream time of what it is about."""


FAMILIES: dict[str, Callable[[History, np.random.Generator], Iterator[Draft]]] = {
    "color": ask_now.color,
    "shape": ask_now.shape,
    "size": ask_now.size,
    "where": ask_now.where,
    "count": ask_now.count,
    "number": ask_now.number,
    "moving": ask_now.moving,
    "first": ask_past.first,
    "last": ask_past.last,
    "before": ask_past.before,
    "after": ask_past.after,
    "when": ask_past.when,
    "how_long": ask_past.how_long,
    "times": ask_past.times,
    "ever": ask_past.ever,
    "left_before": ask_past.left_before,
    "number_was": ask_past.number_was,
    "at_time": ask_past.at_time,
    "is_there": ask_conditions.is_there,
    "is_moving": ask_conditions.is_moving,
    "is_at": ask_conditions.is_at,
    "more_than": ask_conditions.more_than,
}
"""Every family by name."""


def ask(
    looks: Sequence[Look],
    rng: np.random.Generator,
    count: int,
    split: Split = "train",
    families: Sequence[str] = tuple(FAMILIES),
) -> list[TruthQuestion]:
    """Up to `count` questions asked at the newest look, of `families` as often as each is in there;
    the same for the same generator.
    """
    history = History(looks)
    asked: list[TruthQuestion] = []
    for family in np.resize(rng.permutation(families), 2 * count).tolist():
        drafts = list(FAMILIES[family](history, rng))
        if not drafts or len(asked) == count:
            continue
        question = _put(family, drafts[rng.integers(len(drafts))], history, rng, split)
        if all(question.text != other.text for other in asked):
            asked.append(question)
    return asked


def _put(
    family: str, draft: Draft, history: History, rng: np.random.Generator, split: Split
) -> TruthQuestion:
    ways = PHRASINGS[split][family]
    return TruthQuestion(
        family=family,
        group=draft.group,
        text=ways[rng.integers(len(ways))].format(**draft.slots),
        answer=draft.answer,
        asked_seconds=history.now.taken_seconds,
        event_seconds=draft.event_seconds,
    )
