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

MORE: dict[str, tuple[str, ...]] = {
    "color": (
        "The {shape} there, what colour is that?",
        "What colour does the {shape} have?",
        "Can you see what colour the {shape} is?",
    ),
    "shape": (
        "The {color} thing there, what shape is that?",
        "What shape does the {color} thing have?",
        "Can you see what shape the {color} thing is?",
    ),
    "size": (
        "The {kind} there, how big is that?",
        "What size does the {kind} have now?",
        "Tell me what size the {kind} is.",
    ),
    "where": (
        "Where in the picture is the {kind}?",
        "Can you see where the {kind} is?",
        "Tell me in which part of the picture the {kind} is.",
    ),
    "count": (
        "How many things do you see?",
        "Tell me the number of things that you can see.",
        "What is the count of things now?",
    ),
    "number": (
        "Can you see what number the {kind} has?",
        "Tell me which number the {kind} has.",
        "The {kind} there, what number does that have?",
    ),
    "moving": (
        "Where does the {kind} move to?",
        "Tell me the direction of the {kind}.",
        "What is the direction in which the {kind} is going?",
    ),
    "first": (
        "What did you see first?",
        "Tell me which thing was first to come.",
        "Of the things that came, what was first?",
    ),
    "last": (
        "What did you see last to come?",
        "Tell me which thing was last to come.",
        "Of the things that came, what was last?",
    ),
    "before": (
        "Just before the {kind}, what came?",
        "Tell me which thing did come before the {kind}.",
        "Before the {kind}, which thing appeared?",
    ),
    "after": (
        "Just after the {kind}, what came?",
        "Tell me which thing did come after the {kind}.",
        "After the {kind}, which thing appeared?",
    ),
    "when": (
        "The {kind}, when did that come?",
        "Tell me the time at which the {kind} came.",
        "At what time was the {kind} first there?",
    ),
    "how_long": (
        "For how many seconds was the {kind} there?",
        "Tell me for how long you did see the {kind}.",
        "Count the seconds that the {kind} was there.",
    ),
    "times": (
        "Tell me how often you did see the {kind}.",
        "What is the number of times that the {kind} came?",
        "The {kind}, how many times was that there?",
    ),
    "ever": (
        "Has a {kind} ever been there?",
        "Tell me, was there a {kind} at any time?",
        "Did a {kind} ever come?",
    ),
    "left_before": (
        "What did you see on the left before the {kind} came?",
        "Just before the {kind} came, what was there on the left?",
        "Tell me which thing was on the left before the {kind} came.",
    ),
    "number_was": (
        "Which number did you see on the {kind}?",
        "The {kind}, what number did that have?",
        "Can you tell me the number of the {kind} that was there?",
    ),
    "at_time": (
        "At {seconds} seconds, what did you see?",
        "Tell me what was there at {seconds} seconds.",
        "What thing was in the picture at the time of {seconds} seconds?",
    ),
    "is_there": (
        "Do you see a {kind}?",
        "Is there any {kind} now?",
        "Tell me, is a {kind} there?",
    ),
    "is_moving": (
        "Do you see the {kind} move?",
        "Tell me, is the {kind} moving?",
        "Is the {kind} on the move?",
    ),
    "is_at": (
        "Do you see anything in the {zone}?",
        "Tell me, is there a thing in the {zone}?",
        "Is there a thing in the {zone} of the picture?",
    ),
    "more_than": (
        "Do you see more than {count} things?",
        "Tell me, are there more than {count} things?",
        "Is the number of things more than {count}?",
    ),
}
"""Further ways of the training split, from the same words: the tokenizer was made before these."""

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

PHRASINGS: dict[Split, dict[str, tuple[str, ...]]] = {
    "train": {family: ways + MORE[family] for family, ways in TRAIN.items()},
    "test": HELD_OUT,
}
"""Split -> family -> ways to ask."""
