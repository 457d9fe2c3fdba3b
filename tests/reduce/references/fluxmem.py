"""Its two steps, cell by cell and edge by edge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from statistics import median_low

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "fluxmem", "threshold": 0.1}
_STILL, _MOVED = angles(0, 0, 0, 0, 0), angles(0, 0, 0, 90, 0)
EXAMPLE = Example(settings={"merge": False}, clips=[_STILL, _STILL, _MOVED], rows=[[], [], [3]])


def reference(clips: Sequence[VisualTokens], *, threshold: float) -> list[Expected]:
    """Each clip between the one before and the one behind."""
    expected = []
    for number, clip in enumerate(clips):
        before = clips[number - 1] if number else None
        behind = clips[number + 1] if number + 1 < len(clips) else None
        cells = _selected(clip, before, behind, threshold)
        expected.append(_consolidated(clip, cells))
    return expected


def _selected(
    now: VisualTokens, before: VisualTokens | None, behind: VisualTokens | None, threshold: float
) -> list[int]:
    """Cells that differ from what is beside them in one of the two, and from the clip behind."""
    cells = range(len(now))
    far = [
        [
            min(_distance(now.features[cell], other.features[near]) for near in _around(now, cell))
            for cell in cells
        ]
        for other in (before, behind)
        if other is not None
    ]
    limits = [_best_split(each) or median_low(each) for each in far]
    return [
        cell
        for cell in cells
        if any(each[cell] >= limit for each, limit in zip(far, limits, strict=True))
        and (behind is None or far[-1][cell] >= threshold)
    ]


def _consolidated(now: VisualTokens, cells: list[int]) -> Expected:
    """Connected cells become their mean, where the one nearest to it stands."""
    merged = {}
    for members in _groups(now, cells):
        mean = now.features[members].mean(dim=0)
        # To four places: the two of a pair are equally near to their mean, and the lower one wins.
        stands = min(members, key=lambda cell: round(_distance(now.features[cell], mean), 4))
        merged[stands] = (mean, len(members))
    rows = sorted(merged)
    return Expected(
        rows=rows,
        features=torch.stack([merged[row][0] for row in rows]) if rows else now.features[:0],
        weight=[merged[row][1] for row in rows],
    )


def _groups(now: VisualTokens, cells: list[int]) -> list[list[int]]:
    edges = [(a, b) for a in cells for b in cells if a < b and b in _around(now, a)]
    far = [_distance(now.features[a], now.features[b]) for a, b in edges]
    limit = _best_split(far)
    label = {cell: cell for cell in cells}
    for _ in cells:
        for (a, b), apart in zip(edges, far, strict=True):
            if limit is not None and apart <= limit:
                label[a] = label[b] = min(label[a], label[b])
    return [[cell for cell in cells if label[cell] == name] for name in sorted(set(label.values()))]


def _best_split(values: list[float]) -> float | None:
    """Otsu's: the bin centre with the greatest variance between what is in or below its bin and
    what is above; None where all is in one bin.
    """
    bins = [min(127, int(value * 64)) for value in values]
    best, found = 0.0, None
    for edge in range(128):
        below = [(each + 0.5) / 64 for each in bins if each <= edge]
        above = [(each + 0.5) / 64 for each in bins if each > edge]
        if below and above:
            apart = sum(below) / len(below) - sum(above) / len(above)
            between = len(below) * len(above) / len(bins) ** 2 * apart**2
            if between > best + 1e-5:
                best, found = between, (edge + 0.5) / 64
    return found


def _around(now: VisualTokens, cell: int) -> list[int]:
    """Cells of the 3 x 3 around one, itself included."""
    _, height, width = now.grid_thw
    row, column = divmod(cell, width)
    near = product((row - 1, row, row + 1), (column - 1, column, column + 1))
    return [r * width + c for r, c in near if 0 <= r < height and 0 <= c < width]


def _distance(one: Tensor, other: Tensor) -> float:
    # What is alike to the last bits is no distance.
    return max(0.0, round(1 - float(one @ other / (one.norm() * other.norm())), 12))
