"""Windows of three by three cells, every pair compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "mustdrop", "keep_ratio": 7 / 24}
# One row of cells: the windows are 0, 1, 2 and 3, 4; the second is the more alike.
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 40, 80, 170, 180)], rows=[[1, 4]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself; one level of windows is enough for the ratio."""
    kept = []
    for clip in clips:
        groups = _merged(clip, round(keep_ratio * len(clip)))
        rows = sorted(groups)
        kept.append(
            Expected(
                rows=rows,
                features=torch.stack([clip.features[groups[row]].mean(dim=0) for row in rows]),
                weight=[len(groups[row]) for row in rows],
            )
        )
    return kept


def _merged(clip: VisualTokens, count: int) -> dict[int, list[int]]:
    """The members of each group by where it stands."""
    windows: dict[tuple[int, int, int], list[int]] = {}
    for cell, (t, row, column) in enumerate(clip.cells.tolist()):
        windows.setdefault((t, row // 3, column // 3), []).append(cell)
    groups = {cell: [cell] for cell in range(len(clip))}
    for cells in sorted(windows.values(), key=lambda cells: -_alike(clip.features[cells])):
        middle = cells[len(cells) // 2]
        for cell in cells:
            if cell != middle and len(groups) > count:
                groups[middle] += groups.pop(cell)
    assert len(groups) == count
    return groups


def _alike(rows: Tensor) -> float:
    cosines = [_cosine(one, other) for one, other in combinations(rows, 2)]
    return round(sum(cosines) / max(1, len(cosines)), 6)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
