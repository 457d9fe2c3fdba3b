"""Mini's tokenizer."""

from __future__ import annotations

import pytest

from streamvlm.evaluate.world.phrasings import PHRASINGS, Split
from streamvlm.evaluate.world.things import COLORS, SHAPES, ZONES
from training.tokenizer import tokenizer

TEXTS = [
    "",
    "When did the red van leave?",
    "Wo ist der große Hund?",
    "猫はどこですか",
    "أين القطة؟",
    "🚗🚙",
    "a\tb\n\nc  d",
    "2026-11-21T04:00:00Z",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_survives(text: str) -> None:
    assert tokenizer().decode(tokenizer()(text, add_special_tokens=False).input_ids) == text


def test_digits_stand_alone() -> None:
    ids = tokenizer()("<1234.5 seconds>", add_special_tokens=False).input_ids
    assert [tokenizer().decode([each]) for each in ids] == [*"<1234.5", " seconds", ">"]


def test_words_of_the_world_are_single_tokens_in_front_and_behind_a_space() -> None:
    words = [*COLORS, *SHAPES, "left", "right", "top", "bottom", "middle"]
    for text in [*words, *(f" {word}" for word in words), "yes", "no", "small", "large"]:
        assert len(tokenizer()(text, add_special_tokens=False).input_ids) == 1, text
    assert {len(tokenizer()(zone).input_ids) for row in ZONES for zone in row} == {1, 2}


def test_held_out_phrasings_use_only_tokens_that_are_trained_on() -> None:
    def tokens(split: Split) -> set[int]:
        texts = [way for ways in PHRASINGS[split].values() for way in ways]
        return {each for text in texts for each in tokenizer()(text).input_ids}

    assert tokens("test") <= tokens("train")


def test_held_out_phrasings_are_not_trained_on() -> None:
    for family, ways in PHRASINGS["test"].items():
        assert not set(ways) & set(PHRASINGS["train"][family])
