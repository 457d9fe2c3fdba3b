"""Information that is handed along the links of a graph, one link at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "gprune", "keep_ratio": 7 / 24, "temperature": 0.3}
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 90, 91, 92, 180)], rows=[[0, 4]])


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, temperature: float
) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_most_informed(clip.features, round(keep_ratio * len(clip)), temperature))
        for clip in clips
    ]


def _most_informed(
    rows: Tensor, count: int, temperature: float, *, least_cosine: float = 0.5, num_steps: int = 5
) -> list[int]:
    size = range(len(rows))
    links = {
        row: {
            other: _cosine(rows[row], rows[other])
            for other in size
            if other == row or _cosine(rows[row], rows[other]) >= least_cosine
        }
        for row in size
    }
    information = [float(row.norm()) for row in rows]
    for _ in range(num_steps):
        handed = [0.0 for _ in size]
        for row in size:
            weights = {other: math.exp(each / temperature) for other, each in links[row].items()}
            for other, weight in weights.items():
                handed[other] += information[row] * weight / sum(weights.values())
        information = handed
    # To six places: what differs by rounding is equal, and the lower row wins.
    scores = [round(information[row] / len(links[row]), 6) for row in size]
    return sorted(sorted(size, key=lambda row: (-scores[row], row))[:count])


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
