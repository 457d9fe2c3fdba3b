"""Importance against likeness, every likeness worked out anew at every step."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "mmr", "keep_ratio": 7 / 24}
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 0, 90, 0, 5)], rows=[[0, 2]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Half of each; importance is the distance to what was last kept of the cell, which is nothing
    at first.
    """
    held: list[Tensor | None] = [None] * len(clips[0])
    expected = []
    for number, clip in enumerate(clips):
        mean = clip.features.mean(dim=0)
        far = [
            1 - _cosine(row, mean) if not number else 1 - _cosine(row, before)
            for row, before in zip(clip.features, held, strict=True)
        ]
        rows = _most_relevant(clip.features, _scaled(far), round(keep_ratio * len(clip)))
        for row in rows:
            held[row] = clip.features[row]
        expected.append(Expected(rows=rows))
    return expected


def _most_relevant(rows: Tensor, importance: list[float], count: int) -> list[int]:
    chosen = list[int]()

    def value(row: int) -> float:
        alike = max((_cosine(rows[row], rows[each]) for each in chosen), default=0.0)
        # To four places, as a tie is decided coarsely there too.
        return round(0.5 * importance[row] - 0.5 * alike, 4)

    while len(chosen) < count:
        left = [row for row in range(len(rows)) if row not in chosen]
        chosen.append(max(left, key=value))
    return sorted(chosen)


def _scaled(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(each - low) / (high - low) if high - low > 1e-6 else 0.5 for each in values]


def _cosine(one: Tensor, other: Tensor | None) -> float:
    """0 where there is nothing to compare with."""
    return 0.0 if other is None else float(one @ other / (one.norm() * other.norm()))
