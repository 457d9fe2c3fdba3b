"""Questions with options: how they are put to the model, and what scorers look at."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PREFIX = re.compile(r"\s*([A-H])[.)]\s*(?=\S)")
_PUBLISHED_OPTIONS = 4


def put(question: str, options: Sequence[str]) -> str:
    """The text for the model: the question, an option a line, and that a letter is wanted.

    The form that all four benchmarks ask in (letters in front of options, only the letter wanted),
    in words of our own.
    """
    lines = [f"{letter(index)}. {option}" for index, option in enumerate(options)]
    wanted = "Answer with the letter of the right option and nothing else."
    return "\n".join([question, *lines, wanted])


def letter(index: int) -> str:
    """A for 0, B for 1, ..."""
    return chr(ord("A") + index)


def plain_options(options: Sequence[str]) -> tuple[str, ...]:
    """The options without the letters that the annotators put in front of some.

    More than four entries are options that were broken into pieces or listed twice: what has no
    letter belongs to the option before, and of a letter the first counts. Empty where a letter is
    lacking.
    """
    if len(options) > _PUBLISHED_OPTIONS:
        return _mended(options)
    prefixes = [_PREFIX.match(option) for option in options]
    are_all = all(prefixes)
    return tuple(
        option[match.end() :].strip()
        if match and (are_all or match[1] == letter(index))
        else option.strip()
        for index, (option, match) in enumerate(zip(options, prefixes, strict=True))
    )


def _mended(pieces: Sequence[str]) -> tuple[str, ...]:
    mended: dict[str, str] = {}
    current = ""
    for piece in pieces:
        match = _PREFIX.match(piece)
        if match:
            current = "" if match[1] in mended else match[1]
        if current:
            text = piece[match.end() :] if match else piece
            mended[current] = f"{mended.get(current, '')} {text.strip()}".strip()
    # By letter and not by place: a letter is what the right answer is given as.
    is_whole = sorted(mended) == [letter(index) for index in range(len(mended))]
    return tuple(text for _, text in sorted(mended.items())) if is_whole else ()
