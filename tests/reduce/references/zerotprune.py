"""Three stages of ranking and dropping, one row at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "zerotprune", "keep_ratio": 7 / 24, "temperature": 0.4}
EXAMPLE = Example(
    settings={"keep_ratio": 0.6},
    clips=[
        replace(angles(0, 0, 90, 90, 200), salience=torch.tensor([0.9, 0.1, 0.5, 0.3, 0.45])),
    ],
    rows=[[0, 2, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, temperature: float
) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_kept(clip, round(keep_ratio * len(clip)), temperature)) for clip in clips
    ]


def _kept(clip: VisualTokens, count: int, temperature: float) -> list[int]:
    rows = range(len(clip))
    assert clip.salience is not None
    rank = {row: float(clip.salience[row]) for row in rows}
    alike = [[_cosine(one, other) for other in clip.features] for one in clip.features]
    order = _highest_first(rank)
    upper, lower = order[: math.ceil(len(order) / 2)], order[math.ceil(len(order) / 2) :]
    to_upper = {row: max(alike[row][other] for other in upper) for row in lower}
    num_copies = min(len(lower), int((len(clip) - count) / 2 + 0.5))
    copies = sorted(reversed(lower), key=lambda row: -round(to_upper[row], 6))[:num_copies]
    left = [row for row in rows if row not in copies]
    for _ in range(5):
        received = dict.fromkeys(left, 0.0)
        for row in left:
            weights = {other: math.exp(alike[row][other] / temperature) for other in left}
            for other in left:
                received[other] += rank[row] * weights[other] / sum(weights.values())
        rank = received
    return sorted(_highest_first({row: rank[row] for row in left})[:count])


def _highest_first(rank: dict[int, float]) -> list[int]:
    # To six places: what differs by rounding is equal, and the lower row wins.
    return sorted(rank, key=lambda row: (-round(rank[row], 6), row))


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
