"""Every answer is checked against looks written by hand, or recomputed another way."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from streamvlm.evaluate.world.history import History
from streamvlm.evaluate.world.phrasings import HELD_OUT, PHRASINGS, TRAIN
from streamvlm.evaluate.world.questions import FAMILIES, TruthQuestion, ask
from streamvlm.evaluate.world.script import Pace, write
from streamvlm.evaluate.world.things import Kind, Thing
from streamvlm.evaluate.world.truth import Look, Sight, looks

RED = Kind("red", "circle")
BLUE = Kind("blue", "square")
BLACK = Kind("black", "star")
PLACES = {"left": (0.15, 0.5), "middle": (0.5, 0.5), "right": (0.85, 0.5)}


def sight(visit: int, kind: Kind, zone: str = "middle", moving: str = "still") -> Sight:
    thing = Thing(kind=kind, size="large", radius=0.12, plate="12" if kind == RED else "")
    return Sight(
        thing=thing,
        visit=visit,
        place=PLACES[zone],
        zone=zone,
        moving=moving,
        visible=1.0,
        is_plate_whole=True,
    )


def seen(*clips: list[Sight]) -> list[Look]:
    return [shown(index, *sights) for index, sights in enumerate(clips)]


def shown(index: int, *sights: Sight) -> Look:
    """The look at the clip of this second."""
    return Look(seconds=index + 0.25, taken_seconds=index + 0.5, sights=sights, is_black=False)


STORY = seen(
    [],
    [],
    [sight(0, BLUE, "left")],
    [sight(0, BLUE, "left")],
    [sight(0, BLUE, "left"), sight(1, RED, "right", "left")],
    [sight(1, RED, "right")],
    [sight(1, RED, "right")],
    [],
    [],
    [sight(2, BLACK, "middle", "up")],
    [sight(2, BLACK, "middle")],
    [sight(2, BLACK, "right", "right")],
)
"""Blue from 2 to 4, red from 4 to 6, black from 9 on."""


def answers(story: list[Look], family: str) -> dict[str, str]:
    """Everything that a family can ask, over many draws: question to answer."""
    found: dict[str, str] = {}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        for draft in FAMILIES[family](History(story), rng):
            text = TRAIN[family][0].format(**draft.slots)
            assert found.setdefault(text, draft.answer) == draft.answer
    return found


@pytest.mark.parametrize(
    ("family", "question", "answer"),
    [
        ("color", "What colour is the star?", "black"),
        ("color", "What colour is the circle?", "not there"),
        ("shape", "What shape is the black thing?", "star"),
        ("size", "How big is the black star?", "large"),
        ("where", "Where is the black star?", "right"),
        ("where", "Where is the red circle?", "not there"),
        ("count", "How many things are there?", "1"),
        ("number", "What number is on the black star?", "no number"),
        ("moving", "Which way is the black star moving?", "right"),
        ("first", "What came first?", "blue square"),
        ("last", "What came last?", "black star"),
        ("before", "What came before the red circle?", "blue square"),
        ("before", "What came before the black star?", "red circle"),
        ("after", "What came after the blue square?", "red circle"),
        ("when", "When did the red circle appear?", "4.2 seconds"),
        ("how_long", "How long was the red circle there?", "3 seconds"),
        ("times", "How many times did the red circle come?", "1"),
        ("ever", "Was there ever a red circle?", "yes"),
        ("left_before", "What was on the left before the red circle came?", "blue square"),
        ("left_before", "What was on the left before the black star came?", "nothing"),
        ("number_was", "What number was on the red circle?", "12"),
        ("at_time", "What was there at 0 seconds?", "nothing"),
        ("at_time", "What was there at 10 seconds?", "black star"),
        ("is_there", "Is there a black star?", "yes"),
        ("is_there", "Is there a red circle?", "no"),
        ("is_moving", "Is the black star moving?", "yes"),
        ("is_at", "Is there something in the right?", "yes"),
        ("is_at", "Is there something in the left?", "no"),
        ("more_than", "Are there more than 0 things?", "yes"),
        ("more_than", "Are there more than 1 things?", "no"),
    ],
)
def test_the_answer_is_what_the_story_says(family: str, question: str, answer: str) -> None:
    assert answers(STORY, family)[question] == answer


def test_what_never_came_is_not_seen() -> None:
    for family in ("when", "how_long", "number_was"):
        unseen = {text: said for text, said in answers(STORY, family).items() if said == "not seen"}
        assert unseen
        assert not any(str(kind) in text for text in unseen for kind in (RED, BLUE, BLACK))


def test_a_number_is_asked_about_only_where_all_of_it_was_shown() -> None:
    cut = [
        shown(index, *(replace(each, is_plate_whole=False) for each in clip.sights))
        for index, clip in enumerate(STORY)
    ]
    question = "What number was on the red circle?"
    assert question in answers(STORY, "number_was")
    assert question not in answers(cut, "number_was")
    now = "What number is on the red circle?"
    assert answers(STORY[:6], "number")[now] == "12"
    assert now not in answers(cut[:6], "number")


def test_what_comes_again_is_counted_and_no_longer_asked_when() -> None:
    again = seen(*(list(each.sights) for each in STORY), [], [sight(3, RED)])
    assert answers(again, "times")["How many times did the red circle come?"] == "2"
    assert "When did the red circle appear?" not in answers(again, "when")


def test_nothing_is_asked_about_now_while_it_is_unclear() -> None:
    unclear = shown(12, replace(sight(5, BLUE), visible=0.4))
    for family in ("color", "where", "count", "is_there", "more_than"):
        assert answers([*STORY, unclear], family) == {}


def test_every_family_is_put_in_several_ways_and_in_others_for_the_test() -> None:
    assert set(FAMILIES) == set(PHRASINGS["train"]) == set(HELD_OUT)
    for family, ways in PHRASINGS["train"].items():
        assert len(set(ways)) == len(ways) >= 7
        assert len(HELD_OUT[family]) >= 2
        assert not set(ways) & set(HELD_OUT[family])


@pytest.mark.parametrize("seed", range(10))
def test_questions_of_real_scripts_hold_against_the_script(seed: int) -> None:
    script = write(seed, 90.0, Pace(trouble_every=0.0))
    story = looks(script, [float(second) for second in range(60)])
    for question in ask(story, np.random.default_rng(seed), 30, "test"):
        assert question.asked_seconds == 59.5
        assert question.event_seconds <= question.asked_seconds
        if question.family == "when" and question.group == "past":
            came = [v for v in script.visits if str(v.thing.kind) in question.text]
            assert 0 <= float(question.answer.split()[0]) - came[0].times[0] < 4.0
        if question.family == "count":
            assert int(question.answer) == sum(v.at(59.5) is not None for v in script.visits)


def test_the_same_generator_asks_the_same() -> None:
    def asked() -> list[TruthQuestion]:
        return ask(STORY, np.random.default_rng(4), 12)

    assert asked() == asked()


def test_all_families_come_up() -> None:
    families: Counter[str] = Counter()
    for seed in range(30):
        story = looks(write(seed, 90.0), [float(second) for second in range(40)])
        families.update(q.family for q in ask(story, np.random.default_rng(seed), 22))
    assert set(families) == set(FAMILIES)
    assert min(families.values()) > 10
