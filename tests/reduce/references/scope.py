"""How well all rows are covered, worked out anew for every row that could be chosen next."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "scope", "keep_ratio": 7 / 24, "salience_power": 0.5}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4, "salience_power": 0.0},
    clips=[angles(80, 90, 100, 265, 275)],
    rows=[[1, 3]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, salience_power: float
) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_most_covering(clip, round(keep_ratio * len(clip)), salience_power))
        for clip in clips
    ]


def _most_covering(clip: VisualTokens, count: int, salience_power: float) -> list[int]:
    rows, salience = clip.features, clip.salience
    assert salience is not None
    alike = [[_cosine(one, other) for other in rows] for one in rows]

    def coverage(chosen: Sequence[int]) -> float:
        return sum(max([0.0, *(each[row] for row in chosen)]) for each in alike)

    def worth(row: int) -> float:
        gain = coverage([*chosen, row]) - coverage(chosen)
        # To six places: what differs by rounding is equal, and the lower row wins.
        return round(gain * float(salience[row]) ** salience_power, 6)

    chosen: list[int] = []
    while len(chosen) < count:
        left = [row for row in range(len(rows)) if row not in chosen]
        chosen.append(max(left, key=worth))
    return sorted(chosen)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
