"""The score of a token, every pair of tokens compared."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "ktv", "keep_ratio": 7 / 24}
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 0, 0, 60, 90)], rows=[[3, 4]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """A fifth of importance, the rest of not being repeated."""
    expected = []
    for clip in clips:
        rows, mean = clip.features, clip.features.mean(dim=0)
        importance = _scaled([1 - _cosine(row, mean) for row in rows])
        repeated = _scaled(
            [
                sum(_cosine(row, other) for j, other in enumerate(rows) if j != i)
                for i, row in enumerate(rows)
            ]
        )
        score = [
            0.2 * own + 0.8 * (1 - again) for own, again in zip(importance, repeated, strict=True)
        ]
        # To six places: what differs by rounding is equal, and the lower row wins.
        order = sorted(range(len(rows)), key=lambda row: -round(score[row], 6))
        expected.append(Expected(rows=sorted(order[: round(keep_ratio * len(rows))])))
    return expected


def _scaled(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(each - low) / (high - low) for each in values]


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
