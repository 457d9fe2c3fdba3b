"""Max-min diversity, every distance worked out anew at every step."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "divprune", "keep_ratio": 7 / 24}
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 10, 90, 100, 180)], rows=[[0, 4]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_farthest_first(clip.features, round(keep_ratio * len(clip))))
        for clip in clips
    ]


def _farthest_first(rows: Tensor, count: int) -> list[int]:
    all_rows = range(len(rows))

    def gap(row: int, others: Sequence[int]) -> float:
        distances = (1 - _cosine(rows[row], rows[other]) for other in others if other != row)
        # To six places: what differs by rounding is equal, and the lower row wins.
        return round(min(distances), 6)

    chosen = [max(all_rows, key=lambda row: gap(row, all_rows))]
    while len(chosen) < count:
        left = [row for row in all_rows if row not in chosen]
        chosen.append(max(left, key=lambda row: gap(row, chosen)))
    return sorted(chosen)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
