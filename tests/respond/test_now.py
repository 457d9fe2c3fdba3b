"""Questions about now are told from all others; in doubt they are none."""

from __future__ import annotations

import pytest

from streamvlm.evaluate.world.phrasings import PHRASINGS
from streamvlm.respond import asks_about_now


@pytest.mark.parametrize(
    "text",
    [
        "What is happening right now?",
        "Where is the red car now?",
        "NOW, who is at the door?",
        "Is anyone currently in the room?",
        "How many people are there at the moment?",
        "At the moment, is the gate open?",
        "What can you see at this moment?",
        "Is the door closed at this very second?",
        "Which colour does the square have now?",
        "Is he on the left at present?",
        "Who\u2019s in the picture as we speak?",
        "Is it safe to go in at this time?",
    ],
)
def test_about_now(text: str) -> None:
    assert asks_about_now(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is on the table?",
        "Where is my bag?",
        "Who just now left?",
        "What happened just now?",
        "How many cars came until now?",
        "How many cars have you seen now?",
        "What have I missed so far, up to now?",
        "Who was there at the moment the alarm went off?",
        "What was he doing at that moment?",
        "Is the car still there now?",
        "What has changed between this morning and now?",
        "Is it the same person now as before?",
        "Where is the bag now that he left earlier?",
        "How long is she there now?",
        "Is there more snow than an hour ago?",
        "Does the dog come now and then?",
        "Did the van arrive by now?",
        "What was there a minute before now?",
        "Was ist jetzt zu sehen?",
        "Do you know the knowledge base?",
    ],
)
def test_not_about_now(text: str) -> None:
    assert not asks_about_now(text)


@pytest.mark.parametrize("split", PHRASINGS)
def test_no_question_about_the_past_of_the_synthetic_world_is_taken_for_one(split: str) -> None:
    about_now = {"color", "shape", "size", "where", "count", "number", "moving"}
    conditions = {"is_there", "is_moving", "is_at", "more_than"}
    for family, ways in PHRASINGS[split].items():  # type: ignore[index]
        if family not in about_now | conditions:
            for way in ways:
                asked = way.format(kind="red star", seconds=30)
                assert not asks_about_now(asked), asked
