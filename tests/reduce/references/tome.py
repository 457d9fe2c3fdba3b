"""Rounds of merging lists of rows, every mean worked out anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "tome", "keep_ratio": 7 / 24}
EXAMPLE = Example(settings={"keep_ratio": 0.6}, clips=[angles(0, 5, 90, 85, 180)], rows=[[0, 2, 4]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [_merged(clip.features, round(keep_ratio * len(clip))) for clip in clips]


def _merged(rows: Tensor, count: int) -> Expected:
    groups = [[row] for row in range(len(rows))]
    while len(groups) > count:
        staying, leaving = groups[0::2], groups[1::2]
        best = []
        for group in leaving:
            # To four places: what differs by rounding is equal, and the lower one wins.
            alike = [round(_cosine(_mean(rows, group), _mean(rows, each)), 4) for each in staying]
            best.append((max(alike), alike.index(max(alike)), group))
        gone = sorted(best, key=lambda each: -each[0])[: len(groups) - count]
        groups = [group for group in groups if not any(group is each for _, _, each in gone)]
        for _, into, group in gone:
            staying[into].extend(group)
    return Expected(
        rows=[group[0] for group in groups],
        features=torch.stack([_mean(rows, group) for group in groups]),
        weight=[len(group) for group in groups],
    )


def _mean(rows: Tensor, group: list[int]) -> Tensor:
    return rows[group].mean(dim=0)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
