"""How people put the questions. `HELD_OUT` phrasings are never trained on; their words are."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "test"]

TRAIN: dict[str, tuple[str, ...]] = {
    "color": (
        "What colour is the {shape}?",
        "What is the colour of the {shape}?",
        "Tell me the colour of the {shape}.",
        "Which colour does the {shape} have now?",
    ),
    "shape": (
        "What shape is the {color} thing?",
        "What is the shape of the {color} thing?",
        "Tell me the shape of the {color} thing.",
        "Which shape does the {color} thing have now?",
    ),
    "size": (
        "How big is the {kind}?",
        "What size is the {kind}?",
        "Tell me the size of the {kind}.",
        "Is the {kind} small or large?",
    ),
    "where": (
        "Where is the {kind}?",
        "Where is the {kind} right now?",
        "In which part of the picture is the {kind}?",
        "Tell me where the {kind} is.",
    ),
    "count": (
        "How many things are there?",
        "How many things can you see now?",
        "Count the things in the picture.",
        "What is the number of things right now?",
    ),
    "number": (
        "What number is on the {kind}?",
        "Which number does the {kind} have?",
        "Read the number on the {kind}.",
        "Tell me the number of the {kind}.",
    ),
    "moving": (
        "Which way is the {kind} moving?",
        "Where is the {kind} going?",
        "In which direction does the {kind} move?",
        "Tell me which way the {kind} goes.",
    ),
    "first": (
        "What came first?",
        "What was the first thing to appear?",
        "Which thing appeared first?",
        "Tell me what came first.",
    ),
    "last": (
        "What came last?",
        "What was the last thing to appear?",
        "Which thing appeared last?",
        "Tell me what came last.",
    ),
    "before": (
        "What came before the {kind}?",
        "What appeared just before the {kind}?",
        "Which thing came before the {kind}?",
        "Tell me what appeared before the {kind}.",
    ),
    "after": (
        "What came after the {kind}?",
        "What appeared just after the {kind}?",
        "Which thing came after the {kind}?",
        "Tell me what appeared after the {kind}.",
    ),
    "when": (
        "When did the {kind} appear?",
        "When did the {kind} come?",
        "At what time did the {kind} appear?",
        "Tell me when the {kind} came.",
    ),
    "how_long": (
        "How long was the {kind} there?",
        "For how long was the {kind} in the picture?",
        "How many seconds did the {kind} stay?",
        "Tell me how long the {kind} was there.",
    ),
    "times": (
        "How many times did the {kind} come?",
        "How often did the {kind} appear?",
        "How many times did you see the {kind}?",
        "Count how often the {kind} came.",
    ),
    "ever": (
        "Was there ever a {kind}?",
        "Did you ever see a {kind}?",
        "Did a {kind} appear at any time?",
        "Has there been a {kind}?",
    ),
    "left_before": (
        "What was on the left before the {kind} came?",
        "Before the {kind} appeared, what was on the left?",
        "Which thing was on the left before the {kind} came?",
        "Tell me what was on the left before the {kind} appeared.",
    ),
    "number_was": (
        "What number was on the {kind}?",
        "Which number did the {kind} have?",
        "Tell me the number that was on the {kind}.",
        "What was the number of the {kind}?",
    ),
    "at_time": (
        "What was there at {seconds} seconds?",
        "What did you see at {seconds} seconds?",
        "Which thing was there at {seconds} seconds?",
        "Tell me what was in the picture at {seconds} seconds.",
    ),
    "is_there": (
        "Is there a {kind}?",
        "Is a {kind} there now?",
        "Can you see a {kind}?",
        "Is there a {kind} in the picture?",
    ),
    "is_moving": (
        "Is the {kind} moving?",
        "Is the {kind} moving right now?",
        "Does the {kind} move?",
        "Is the {kind} going somewhere?",
    ),
    "is_at": (
        "Is there something in the {zone}?",
        "Is something in the {zone} of the picture?",
        "Can you see something in the {zone}?",
        "Is there anything in the {zone} now?",
    ),
    "more_than": (
        "Are there more than {count} things?",
        "Can you see more than {count} things?",
        "Are more than {count} things there now?",
        "Are there more than {count} things in the picture?",
    ),
}
"""Family -> ways to ask."""

HELD_OUT: dict[str, tuple[str, ...]] = {
    "color": ("Which colour is the {shape}?", "Tell me what colour the {shape} is now."),
    "shape": ("Which shape is the {color} thing?", "Tell me what shape the {color} thing is now."),
    "size": ("Which size is the {kind}?", "Tell me how big the {kind} is."),
    "where": ("Where can you see the {kind}?", "In what part of the picture is the {kind} now?"),
    "count": ("How many things are in the picture?", "Tell me how many things there are."),
    "number": ("What is the number on the {kind}?", "Tell me what number is on the {kind}."),
    "moving": ("Which way does the {kind} move?", "In which direction is the {kind} moving now?"),
    "first": ("Which thing came first?", "Tell me the first thing you did see."),
    "last": ("Which thing came last?", "Tell me what appeared last."),
    "before": ("Which thing appeared before the {kind}?", "Tell me what came before the {kind}."),
    "after": ("Which thing appeared after the {kind}?", "Tell me what came after the {kind}."),
    "when": ("At what time did the {kind} come?", "Tell me when the {kind} did appear."),
    "how_long": ("How long did the {kind} stay?", "Tell me how many seconds the {kind} was there."),
    "times": ("How often did the {kind} come?", "Tell me how many times the {kind} appeared."),
    "ever": ("Was a {kind} ever there?", "Did you see a {kind} at any time?"),
    "left_before": (
        "What was there on the left before the {kind} came?",
        "Before the {kind} came, which thing was on the left?",
    ),
    "number_was": ("Tell me what number was on the {kind}.", "Which number was on the {kind}?"),
    "at_time": (
        "Which thing did you see at {seconds} seconds?",
        "What was in the picture at {seconds} seconds?",
    ),
    "is_there": ("Can you see a {kind} now?", "Is a {kind} in the picture?"),
    "is_moving": ("Does the {kind} move now?", "Can you see the {kind} moving?"),
    "is_at": ("Is there anything in the {zone}?", "Can you see anything in the {zone} now?"),
    "more_than": (
        "Can you see more than {count} things now?",
        "Are more than {count} things in the picture?",
    ),
}
"""The same for the test split."""

PHRASINGS: dict[Split, dict[str, tuple[str, ...]]] = {"train": TRAIN, "test": HELD_OUT}
