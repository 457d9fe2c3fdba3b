"""What each cell last kept, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "dtd", "threshold": 0.2, "cut_threshold": 0.7, "max_age": 4, "min_kept": 2}
EXAMPLE = Example(
    settings={"threshold": 0.5},
    clips=[angles(0, 0, 0, 0, 0), angles(0, 90, 50, 70, -20), angles(0, 90, 90, 90, -20)],
    rows=[[0, 1, 2, 3, 4], [1, 3], [2]],
)


def reference(
    clips: Sequence[VisualTokens],
    *,
    threshold: float,
    cut_threshold: float,
    max_age: int,
    min_kept: int,
) -> list[Expected]:
    """All of the first clip and of a cut; else what changed or is too old, at least a few."""
    held, age = list(clips[0].features), [0] * len(clips[0])
    expected = [Expected(rows=list(range(len(clips[0]))))]
    for number, clip in enumerate(clips[1:], start=1):
        cells = range(len(clip))
        change = [_distance(*pair) for pair in zip(clip.features, held, strict=True)]
        is_cut = sum(change) / len(change) > cut_threshold
        rows = [
            cell
            for cell in cells
            if is_cut
            or change[cell] > threshold
            or (cell + number) % max_age == 0
            or age[cell] + 1 >= max_age
        ]
        others = sorted(set(cells) - set(rows), key=lambda cell: -change[cell])
        rows = sorted(rows + others[: max(0, min_kept - len(rows))])
        for cell in cells:
            age[cell] = 0 if cell in rows else age[cell] + 1
            held[cell] = clip.features[cell] if cell in rows else held[cell]
        expected.append(Expected(rows=rows))
    return expected


def _distance(one: Tensor, other: Tensor) -> float:
    # What is alike to the last bits did not change.
    return max(0.0, round(1 - float(one @ other / (one.norm() * other.norm())), 12))
