"""Row after row of the picture, the most attended first; of the last one its best cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

# A row and a half of four.
SPEC = {"name": "fopru", "keep_ratio": 9 / 24}
EXAMPLE = Example(
    # Five rows of one cell each.
    settings={"keep_ratio": 0.4},
    clips=[
        replace(
            angles(0, 45, 90, 135, 180),
            grid_thw=(1, 5, 1),
            cells=torch.tensor([[0, row, 0] for row in range(5)]),
            salience=torch.tensor([0.1, 0.4, 0.2, 0.3, 0.0]),
        ),
    ],
    rows=[[1, 3]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_kept(clip, round(keep_ratio * len(clip)))) for clip in clips]


def _kept(clip: VisualTokens, count: int) -> list[int]:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    _, height, width = clip.grid_thw
    rows = [list(range(row * width, (row + 1) * width)) for row in range(height)]
    # To six places: equal sums may differ by rounding.
    rows.sort(key=lambda row: -round(sum(attention[cell] for cell in row), 6))
    kept: list[int] = []
    for row in rows:
        kept += sorted(row, key=lambda cell: -attention[cell])[: count - len(kept)]
    return sorted(kept)
