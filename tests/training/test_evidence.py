"""What attention is told to look at is what an answer is found in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from streamvlm.evaluate.world.questions import TruthQuestion
from streamvlm.evaluate.world.script import Script, Visit
from streamvlm.evaluate.world.things import COLORS, SHAPES, Kind, Thing
from streamvlm.evaluate.world.truth import looks
from training.architecture import CELLS, HIDDEN
from training.batch import Batch
from training.evidence import HOPS, evidence
from training.pointing import LAYERS, arrival_pointing_loss, pointing_loss
from training.scenes import EncodedScene
from training.writing import NO_LABEL, NOBODY, TIME_DIGITS, write

RED, BLUE = Kind("red", "circle"), Kind("blue", "square")
SHOWN = [(clip, torch.arange(CELLS**2)) for clip in range(6)]


def scene() -> EncodedScene:
    """A red circle in the middle from second 1 to 5, a blue square at the top left from 3 on."""
    red, blue = (Thing(kind=kind, size="large", radius=0.12, plate="") for kind in (RED, BLUE))
    script = Script(
        seed=1,
        seconds=6.0,
        visits=(
            Visit(thing=red, times=(1.0, 4.9), points=((0.5, 0.5), (0.5, 0.5))),
            Visit(thing=blue, times=(3.0, 9.0), points=((0.2, 0.2), (0.2, 0.2))),
        ),
    )
    seen = looks(script, [float(second) for second in range(6)])
    owners = torch.full((6, CELLS**2), -1)
    owners[1:5, 27], owners[3:, 9] = 0, 1
    return EncodedScene(
        looks=seen,
        encoded=list(range(6)),
        features=torch.zeros(6, CELLS**2, HIDDEN, dtype=torch.float16),
        deepstack=torch.zeros(1, 6, CELLS**2, HIDDEN, dtype=torch.float16),
        owners=owners,
    )


def asked(family: str, text: str, answer: str, clip: int) -> TruthQuestion:
    """About the look of this clip."""
    return TruthQuestion(
        family=family,
        group="past",
        text=text,
        answer=answer,
        asked_seconds=5.5,
        event_seconds=scene().looks[clip].seconds,
    )


def where(question: TruthQuestion) -> list[list[tuple[int, int]]]:
    """For each hop the (clip, cell) of every token that it points at."""
    found = evidence(scene(), SHOWN, scene().looks, [question])[0]
    return [[divmod(int(each), CELLS**2) for each in hop.nonzero()] for hop in found]


def test_what_is_there_now_is_found_in_the_newest_clip() -> None:
    assert where(asked("color", "What colour is the square?", "blue", 5)) == [[(5, 9)]] * HOPS


def test_a_time_is_found_where_it_began() -> None:
    question = asked("when", "When did the red circle appear?", "1.2 seconds", 1)
    assert where(question) == [[(1, 27)]] * HOPS


def test_what_came_after_something_is_found_from_there() -> None:
    question = asked("after", "What came after the red circle?", "blue square", 3)
    assert where(question) == [[(1, 27)], [(3, 9)]]


def test_how_long_something_stayed_is_found_at_both_ends() -> None:
    question = asked("how_long", "How long was the red circle there?", "4 seconds", 1)
    assert where(question) == [[(1, 27)], [(4, 27)]]


def test_a_number_is_found_where_all_of_it_shows_and_rests() -> None:
    question = asked("number_was", "What number was on the red circle?", "12", 4)
    assert where(question) == [[(4, 27)]] * HOPS
    for moving, clip in (("still", 2), ("left", 1)):
        seen = [
            replace(
                look,
                sights=tuple(
                    replace(
                        sight,
                        is_plate_whole=number < 3,
                        moving=moving if number == 2 else sight.moving,
                    )
                    for sight in look.sights
                ),
            )
            for number, look in enumerate(scene().looks)
        ]
        found = evidence(scene(), SHOWN, seen, [question])[0, 0].nonzero()
        assert [divmod(int(each), CELLS**2) for each in found] == [(clip, 27)]


def test_what_is_not_there_is_nowhere() -> None:
    assert where(asked("is_there", "Is there a red circle?", "no", 5)) == [[], []]
    assert where(asked("count", "How many things are there?", "1", 5)) == [[], []]


def test_a_token_that_was_dropped_is_looked_for_in_the_clip_that_kept_it() -> None:
    shown = [*SHOWN[:4], (5, torch.tensor([0, 1]))]
    question = asked("color", "What colour is the square?", "blue", 5)
    found = evidence(scene(), shown, scene().looks, [question])[0, 0]
    assert found.nonzero().tolist() == [[3 * CELLS**2 + 9]]


def batch() -> Batch:
    """One question about when the red circle came."""
    questions = [asked("when", "When did the red circle appear?", "1.2 seconds", 1)]
    seen, rng = scene(), np.random.default_rng(0)
    written = write(seen, dict(SHOWN), {0: 1, 1: 3}, seen.looks, questions, rng, is_moved=False)
    return Batch([written])


def pointed_at(wanted: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys that attend to all alike, or to these of the shared tokens."""
    size = batch().ids.shape[1]
    query, key = torch.zeros(1, 4, size, 8), torch.zeros(1, 4, size, 8)
    if wanted is not None:
        query[..., 0] = 100.0
        key[:, :, : len(wanted), 0] = 100.0 * wanted.float()
    return query, key


def test_attention_that_goes_there_costs_nothing() -> None:
    wanted = batch().evidence[0, 0, 0]
    anywhere, share = pointing_loss(dict.fromkeys(LAYERS, pointed_at(None)), batch())
    assert share < 0.01
    there, share = pointing_loss(dict.fromkeys(LAYERS, pointed_at(wanted)), batch())
    assert share > 0.99
    assert there < 0.01 < anywhere


def test_a_thing_attends_to_its_arrival() -> None:
    there = (batch().visits[0] == 0) & batch().is_arrival[0]
    nowhere = pointed_at(None)
    _, share, _ = arrival_pointing_loss({1: nowhere, 2: nowhere}, batch())
    assert share < 0.05
    _, of_both, _ = arrival_pointing_loss({1: pointed_at(there), 2: nowhere}, batch())
    assert of_both == pytest.approx(4 / 7, abs=0.02), "red has four tokens, blue three"


def test_what_arrives_is_told_what_had_arrived_before() -> None:
    told = batch()
    arrives = told.is_arrival[0]
    of_red, of_blue = (arrives & (told.visits[0] == visit) for visit in (0, 1))
    assert (told.earlier[0][of_blue] == 0).all() and (told.earlier[0][~of_blue] == -1).all()
    before = told.dense[:, 3 + 2 * TIME_DIGITS :][:, :2]
    is_shared = told.is_visual[0, : told.num_shared]
    assert (before[of_red[is_shared]] == NOBODY).all()
    red_circle = torch.tensor([1 + list(COLORS).index("red"), 1 + SHAPES.index("circle")])
    assert (before[of_blue[is_shared]] == red_circle).all()
    assert (before[~arrives[is_shared]] == NO_LABEL).all()
    nowhere = pointed_at(None)
    _, _, share = arrival_pointing_loss({1: nowhere, 2: pointed_at(of_red)}, batch())
    assert share > 0.99
