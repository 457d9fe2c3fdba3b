"""Multi-criteria fusion, both ways, with groups that know what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {
    "name": "mctf",
    "keep_ratio": 7 / 24,
    "similarity_temperature": 1.5,
    "attention_temperature": 3.0,
    "size_temperature": 2.0,
}
# Rows 0 and 1 are most alike, yet looked at; of 2 and 3 the odd one goes, as only one may leave.
EXAMPLE = Example(
    settings={"keep_ratio": 0.8, "attention_temperature": 1.0},
    clips=[
        replace(angles(0, 1, 90, 95, 180), salience=torch.tensor([0.4, 0.3, 0.1, 0.1, 0.1])),
    ],
    rows=[[0, 1, 2, 4]],
)


@dataclass(eq=False)
class Group:
    row: int
    mean: Tensor
    attention: float
    size: int

    def absorb(self, others: Sequence[Group]) -> None:
        members = [self, *others]
        weights = [each.attention * each.size for each in members]
        parts = [weight * each.mean for weight, each in zip(weights, members, strict=True)]
        self.mean = torch.stack(parts).sum(dim=0) / sum(weights)
        self.attention = sum(each.attention for each in members)
        self.size = sum(each.size for each in members)


Score = Callable[[Group, Group, list[Group]], float]
Match = Callable[[Group, Group], float]


def reference(
    clips: Sequence[VisualTokens],
    *,
    keep_ratio: float,
    similarity_temperature: float,
    attention_temperature: float,
    size_temperature: float,
) -> list[Expected]:
    """Each clip for itself."""

    def score(one: Group, other: Group, groups: list[Group]) -> float:
        most_informed = max(1 / each.attention for each in groups)
        smallest = max(1 / each.size for each in groups)
        alike = (_cosine(one.mean, other.mean) + 1) / 2
        unseen = 1 / one.attention / most_informed * (1 / other.attention / most_informed)
        little = 1 / one.size / smallest * (1 / other.size / smallest)
        value = alike ** (1 / similarity_temperature)
        value *= unseen ** (1 / attention_temperature) * little ** (1 / size_temperature)
        return round(value, 6)

    def fused(clip: VisualTokens) -> list[Group]:
        assert clip.salience is not None
        groups = [
            Group(row, clip.features[row], float(clip.salience[row]), 1) for row in range(len(clip))
        ]
        while len(groups) > round(keep_ratio * len(clip)):
            groups = _round(groups, score, len(groups) - round(keep_ratio * len(clip)))
        return groups

    kept = []
    for clip in clips:
        groups = fused(clip)
        features = torch.stack([group.mean for group in groups])
        weight = [group.size for group in groups]
        kept.append(
            Expected(rows=[group.row for group in groups], features=features, weight=weight)
        )
    return kept


def _round(groups: list[Group], score: Score, at_most: int) -> list[Group]:
    even, odd = groups[0::2], groups[1::2]
    num_leaving = min(at_most, len(groups) // 2)
    forth = _pairs(even, odd, lambda one, two: score(one, two, groups), num_leaving // 2)
    even_left = [group for group in even if group not in forth]
    back = _pairs(
        odd,
        even_left,
        lambda one, two: score(two, one, groups),
        num_leaving - num_leaving // 2,
    )
    # Where an odd group has taken an even one in and leaves itself, both go on as they were.
    goes_to = {**{group: back.get(into, into) for group, into in forth.items()}, **back}
    left = [group for group in groups if group not in goes_to]
    for group in left:
        group.absorb([each for each, into in goes_to.items() if into is group])
    return left


def _pairs(
    leaving: list[Group], staying: list[Group], score: Match, count: int
) -> dict[Group, Group]:
    found = [(group, max(staying, key=lambda other: score(group, other))) for group in leaving]
    return dict(sorted(found, key=lambda pair: -score(*pair))[:count])


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
