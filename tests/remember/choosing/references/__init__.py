"""Every choice once more: one file each, its formula written plainly and slowly.

A file is named as its choice and has

    EXAMPLE  an `Example` of five tokens, where it is obvious what comes back
    reference(found, max_tokens)  what comes back: an `Expected`

Values are rounded to six places where they are compared: what differs by rounding is equal, and the
lower place wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from streamvlm.remember.choosing import FoundTokens

Row = list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What must come back."""

    rows: set[int]
    means: dict[int, dict[int, float]] = field(default_factory=dict)
    """At which row stands a mean of which rows, with which shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Five tokens, and those that come back."""

    keys: Sequence[tuple[float, float]]
    """The question asks for the first number."""
    sizes: Sequence[int]
    """Visual tokens of each clip."""
    max_tokens: int
    rows: set[int]

    @property
    def found(self) -> FoundTokens:
        """Without text."""
        return found_of(self.keys, self.sizes, [0] * len(self.sizes), [1.0, 0.0], num_heads=1)


def found_of(
    keys: Sequence[Sequence[float]],
    sizes: Sequence[int],
    num_text: Sequence[int],
    probe: Sequence[float],
    num_heads: int,
) -> FoundTokens:
    """Tokens with these keys [N][R], in clips of these sizes."""
    return FoundTokens(
        keys=torch.tensor(keys, dtype=torch.float32).view(sum(sizes), num_heads, -1),
        probe=torch.tensor(probe, dtype=torch.float32),
        clips=torch.repeat_interleave(torch.tensor(sizes, dtype=torch.int64)),
        num_text=torch.tensor(num_text, dtype=torch.int64),
    )


def keys_of(found: FoundTokens) -> list[Row]:
    return [[float(number) for number in key] for key in found.keys.flatten(1).double()]


def members(found: FoundTokens) -> list[list[int]]:
    """Rows of each clip."""
    clips = found.clips.tolist()
    return [
        [row for row, clip in enumerate(clips) if clip == number]
        for number in range(len(found.num_text))
    ]


def inner(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(left * right for left, right in zip(one, other, strict=True))


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = (inner(one, one) * inner(other, other)) ** 0.5
    return inner(one, other) / lengths if lengths else 0.0


def mean(rows: Sequence[Row]) -> Row:
    return [sum(numbers) / len(rows) for numbers in zip(*rows, strict=True)]


def fits_of(found: FoundTokens) -> list[float]:
    return [round(inner(key, found.probe.tolist()), 6) for key in keys_of(found)]


def by_score(rows: Sequence[int], scores: Sequence[float]) -> list[int]:
    return sorted(rows, key=lambda row: (-scores[row], row))


def first_of(found: FoundTokens, order: Sequence[int], max_tokens: int) -> list[int]:
    """Until the next one, with the text of a clip that it is the first of, is one too many."""
    taken: list[int] = []
    opened: set[int] = set()
    spent = 0
    for row in order:
        clip = int(found.clips[row])
        spent += 1 + (0 if clip in opened else int(found.num_text[clip]))
        if spent > max_tokens:
            break
        opened.add(clip)
        taken.append(row)
    return taken


def shared_out(
    weights: Sequence[float], least: Sequence[int], most: Sequence[int], total: int
) -> list[int]:
    """Leave out the lightest, one by one, until nobody's part is below their least."""
    weights = [round(weight / (sum(weights) or 1.0), 6) for weight in weights]
    among = by_score(range(len(weights)), weights)
    while among:
        parts = dict.fromkeys(among, 0.0)
        full: set[int] = set()
        while True:
            left = total - sum(most[each] for each in full)
            weight = sum(weights[each] for each in among if each not in full)
            for each in among:
                if each not in full:
                    parts[each] = weights[each] * left / weight if weight else 0.0
            over = {each for each in among if each not in full and parts[each] >= most[each]}
            for each in over:
                parts[each] = float(most[each])
            full |= over
            if not over:
                break
        given = {each: int(parts[each] + 1e-6) for each in among}
        if all(given[each] >= least[each] for each in among):
            rest = min(total, int(sum(parts.values()) + 1e-6)) - sum(given.values())
            open_ones = sorted(each for each in among if given[each] < most[each])
            open_ones.sort(key=lambda each: -round(parts[each] - given[each], 6))
            for each in open_ones[: max(0, rest)]:
                given[each] += 1
            return [given.get(each, 0) for each in range(len(weights))]
        among = among[:-1]
    return [0] * len(weights)
