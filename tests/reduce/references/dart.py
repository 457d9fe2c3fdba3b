"""Pivots, and what is least like each of them, one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "dart", "keep_ratio": 8 / 24, "num_pivots": 3}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4, "num_pivots": 1},
    clips=[make_tokens([[1.0, 0.1], [3.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])],
    rows=[[1, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, num_pivots: int
) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_unlike_pivots(clip.features, round(keep_ratio * len(clip)), num_pivots))
        for clip in clips
    ]


def _unlike_pivots(rows: Tensor, count: int, num_pivots: int) -> list[int]:
    # To six places: what differs by rounding is equal, and the lower row wins.
    size = [round(sum(abs(float(number)) for number in row), 6) for row in rows]
    pivots = sorted(range(len(rows)), key=lambda row: (-size[row], row))[:num_pivots]
    chosen = list(pivots)
    for pivot in pivots:
        for _ in range(math.ceil((count - num_pivots) / num_pivots)):
            if len(chosen) < count:
                left = [row for row in range(len(rows)) if row not in chosen]
                alike = [round(_cosine(rows[row], rows[pivot]), 6) for row in left]
                chosen.append(left[alike.index(min(alike))])
    return sorted(chosen)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
