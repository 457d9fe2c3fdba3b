"""DyCoke's temporal merging: of every four clips the first, and what changed most of the others."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

# A half of 96 tokens: 24 of the first clip, 8 of each other.
SPEC = {"name": "dycoke", "keep_ratio": 0.5}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[
        angles(0, 0, 0, 0, 0),
        angles(0, 0, 90, 0, 0),
        angles(0, 0, 0, 0, 90),
        angles(90, 0, 0, 0, 90),
    ],
    rows=[[0, 1, 2, 3, 4], [2], [4], [0]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Blocks of four, the last one as long as it is."""
    expected = []
    for start in range(0, len(clips), 4):
        block = clips[start : start + 4]
        num_cells = len(block[0])
        left = round(keep_ratio * num_cells * len(block)) - num_cells
        expected.append(Expected(rows=list(range(num_cells))))
        for number in range(1, len(block)):
            against = {1: 0, 2: 0, 3: 2}[number]
            share = left // (len(block) - 1)
            changed = _change(block[number].features, block[against].features)
            rows = sorted(range(num_cells), key=lambda row, changed=changed: -changed[row])
            expected.append(Expected(rows=sorted(rows[:share])))
    return expected


def _change(one: Tensor, other: Tensor) -> list[float]:
    return [
        round(1 - float(row @ before / (row.norm() * before.norm())), 6)
        for row, before in zip(one, other, strict=True)
    ]
