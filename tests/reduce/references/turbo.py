"""Bipartite matching against attention, with lists of members instead of running sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "turbo", "keep_ratio": 7 / 24, "attention_weight": 3.0}
# Row 1 resembles row 0 most, but is looked at; so row 3 joins row 2.
EXAMPLE = Example(
    settings={"keep_ratio": 0.8},
    clips=[
        replace(angles(0, 1, 90, 100, 180), salience=torch.tensor([0.1, 0.5, 0.1, 0.1, 0.2])),
    ],
    rows=[[0, 1, 2, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, attention_weight: float
) -> list[Expected]:
    """Each clip for itself."""
    kept = []
    for clip in clips:
        assert clip.salience is not None
        share = attention_weight * clip.salience / clip.salience.sum()
        groups = _merged(clip.features, share, round(keep_ratio * len(clip)))
        kept.append(
            Expected(
                rows=[group[0] for group in groups],
                features=torch.stack([clip.features[group].mean(dim=0) for group in groups]),
                weight=[len(group) for group in groups],
            )
        )
    return kept


def _merged(rows: Tensor, share: Tensor, count: int) -> list[list[int]]:
    """The members of each group, the one where it stands first."""

    def score(group: list[int], other: list[int]) -> float:
        cosine = _cosine(rows[group].mean(dim=0), rows[other].mean(dim=0))
        return round(cosine - float(share[group].sum()), 6)

    groups = [[row] for row in range(len(rows))]
    while len(groups) > count:
        staying, leaving = groups[0::2], groups[1::2]
        found = [(group, max(staying, key=lambda other: score(group, other))) for group in leaving]
        found.sort(key=lambda pair: -score(*pair))
        joins = found[: len(groups) - count]
        gone = [group for group, _ in joins]
        groups = [
            group + [row for other, into in joins if into == group for row in other]
            for group in groups
            if group not in gone
        ]
    return groups


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
