"""Strict scoring: what counts as right, and what looks like it and does not."""

from __future__ import annotations

import pytest

from streamvlm.evaluate.items import Item, is_right, normalise


def item(answer: str, options: tuple[str, ...] = (), tolerance: float | None = None) -> Item:
    return Item(
        item_id="1",
        family="color",
        group="now",
        question="?",
        answer=answer,
        options=options,
        asked_seconds=10.0,
        tolerance_seconds=tolerance,
    )


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Red Circle.", "red circle"),
        ("  the   red\ncircle ", "red circle"),
        ("A red circle!", "red circle"),
        ("An apple", "apple"),
        ("another", "another"),
        ("12.5 seconds.", "12.5 seconds"),
        ("the", "the"),
        ("", ""),
    ],
)
def test_only_case_spaces_article_and_stop_are_forgiven(text: str, plain: str) -> None:
    assert normalise(text) == plain


@pytest.mark.parametrize("said", ["red circle", "Red circle.", "the red circle", " A RED CIRCLE "])
def test_the_truth_in_other_clothes_is_right(said: str) -> None:
    assert is_right(item("red circle"), said)


@pytest.mark.parametrize(
    "said", ["", "red", "circle", "red circle and blue star", "not a red circle", "red circles"]
)
def test_what_only_holds_the_truth_is_wrong(said: str) -> None:
    assert not is_right(item("red circle"), said)


def test_a_number_is_not_right_for_being_part_of_another() -> None:
    assert not is_right(item("2"), "12")
    assert not is_right(item("2"), "2 or 3")


@pytest.mark.parametrize("said", ["10 seconds", "8.0", "12 seconds.", "at 11.9 seconds"])
def test_a_time_is_right_within_its_tolerance(said: str) -> None:
    assert is_right(item("10.0 seconds", tolerance=2.0), said)


@pytest.mark.parametrize(
    "said", ["12.1 seconds", "7.9", "not seen", "", "10 or 20 seconds", "-10 seconds"]
)
def test_a_time_is_wrong_beyond_it_or_with_a_second_number(said: str) -> None:
    assert not is_right(item("10.0 seconds", tolerance=2.0), said)


def test_a_family_of_times_may_have_an_answer_without_a_number() -> None:
    assert is_right(item("not seen", tolerance=2.0), "Not seen.")
    assert not is_right(item("not seen", tolerance=2.0), "10 seconds")


OPTIONS = ("red", "a blue star", "green")


@pytest.mark.parametrize(
    "said", ["B", "B.", "(B)", "B) green", "B: whatever", "Blue star", "A blue star", "B\n"]
)
def test_the_letter_in_front_counts_or_else_the_whole_option(said: str) -> None:
    assert is_right(item("B", OPTIONS), said)


@pytest.mark.parametrize("said", ["A", "b", "", "blue", "It is B", "C, not B", "Both"])
def test_of_a_multiple_choice_everything_else_is_wrong(said: str) -> None:
    assert not is_right(item("B", OPTIONS), said)


def test_an_article_is_no_letter() -> None:
    assert not is_right(item("A", OPTIONS), "A blue star")
