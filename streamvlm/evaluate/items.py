"""What every suite is made of: a video, questions asked at moments of it, and how answers are
scored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from streamvlm.types import Clip


class Video(Protocol):
    """Something to watch, from its start; each call begins anew."""

    @property
    def video_id(self) -> str:
        """Unique within its suite."""
        ...

    def clips(self, fps: float, max_pixels: int) -> Iterator[Clip]:
        """Clips of two frames, oldest first, sampled `fps` times a second and at most that large.

        Raises SourceError (or a subclass) where the video cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question of a suite."""

    item_id: str
    """Unique within its suite."""
    family: str
    """The suite's own name for this sort of question."""
    group: str
    """Families that are reported together, such as "now" and "past"."""
    question: str
    """The text given to the model, options included."""
    answer: str
    """The right answer; the letter where there are options."""
    options: tuple[str, ...] = ()
    """Texts of the options A, B, C, ... of a multiple-choice question."""
    asked_seconds: float
    """Stream time at which it is asked: only what was shown until then may be used."""
    event_seconds: float | None = None
    """Stream time of what it is about, where that is known."""
    tolerance_seconds: float | None = None
    """Where the answer is a time or a length: how far off it may be."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A video with its items, by the time at which they are asked."""

    video: Video
    items: tuple[Item, ...]


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_LETTER = re.compile(r"^(?:\(([A-Z])\)|([A-Z])(?:[.:,)]|$))")
"""An option's letter: alone, in brackets or before a sign; the article of "A blue star" is none."""


def is_right(item: Item, answer: str) -> bool:
    """Strict scoring: the normalised answer is the truth and nothing else.

    A time is right within the item's tolerance; of a multiple-choice answer the letter in front
    counts, or else the option's text in full.
    """
    said = normalise(answer)
    if item.options:
        letter = _LETTER.match(answer.strip())
        if letter:
            return (letter[1] or letter[2]) == item.answer
        right = item.options[ord(item.answer) - ord("A")]
        return said == normalise(right)
    if item.tolerance_seconds is not None:
        truth, numbers = _NUMBER.findall(item.answer), _NUMBER.findall(said)
        if truth:
            return len(numbers) == 1 and (
                abs(float(numbers[0]) - float(truth[0])) <= item.tolerance_seconds
            )
    return said == normalise(item.answer)


def normalise(text: str) -> str:
    """Lower case, single spaces, no article in front and no full stop behind."""
    plain = " ".join(text.lower().split()).rstrip(".!").rstrip()
    return re.sub(r"^(?:a|an|the) ", "", plain)
