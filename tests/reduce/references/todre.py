"""Max-sum diversity, every sum of cosines worked out anew at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "todre", "keep_ratio": 7 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[replace(angles(0, 10, 90, 100, 180), salience=torch.tensor([0.1, 0.2, 0.3, 0.2, 0.9]))],
    rows=[[0, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_least_alike(clip.features, clip.salience, round(keep_ratio * len(clip))))
        for clip in clips
    ]


def _least_alike(rows: Tensor, salience: Tensor | None, count: int) -> list[int]:
    assert salience is not None
    # To six places: what differs by rounding is equal, and the lower row wins.
    first = [round(float(each), 6) for each in salience]
    chosen = [first.index(max(first))]
    while len(chosen) < count:
        left = [row for row in range(len(rows)) if row not in chosen]
        likeness = [
            round(sum(_cosine(rows[row], rows[each]) for each in chosen), 6) for row in left
        ]
        chosen.append(left[likeness.index(min(likeness))])
    return sorted(chosen)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
