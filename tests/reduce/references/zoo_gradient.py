"""Sensitivity times distance, every distance worked out anew at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "zoo_gradient", "keep_ratio": 7 / 24}
# The first is the most sensitive; the second lies beside it; the third lies as far as the fourth
# and is more sensitive; the last is the farthest and not sensitive at all.
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[
        replace(angles(0, 5, 90, -90, 180), sensitivity=torch.tensor([9.0, 8.0, 6.0, 5.0, 1.0]))
    ],
    rows=[[0, 2]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_chosen(clip, round(keep_ratio * len(clip)))) for clip in clips]


def _chosen(clip: VisualTokens, count: int) -> list[int]:
    assert clip.sensitivity is not None
    values = clip.sensitivity.tolist()
    low, high = min(values), max(values)

    def worth(row: int) -> float:
        weight = (values[row] - low) / (high - low) if high > low else 1.0
        nearest = min([1 - _cosine(clip.features[row], clip.features[one]) for one in chosen])
        # To six places: what differs by rounding is equal, and the lower row wins.
        return round(weight * nearest, 6)

    chosen = [max(range(len(values)), key=lambda row: round(values[row], 6))]
    while len(chosen) < count:
        left = [row for row in range(len(values)) if row not in chosen]
        chosen.append(max(left, key=worth))
    return sorted(chosen)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
