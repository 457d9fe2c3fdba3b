"""The greatest volume, every determinant worked out anew at every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "dpp", "keep_ratio": 7 / 24}
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 0, 0, 80, 0)], rows=[[0, 3]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [
        Expected(rows=_most_volume(clip.features, round(keep_ratio * len(clip)))) for clip in clips
    ]


def _most_volume(rows: Tensor, count: int) -> list[int]:
    unit = rows / rows.norm(dim=1, keepdim=True)
    kernel, chosen = unit @ unit.T, list[int]()

    def volume(row: int) -> float:
        members = torch.tensor([*chosen, row])
        # Rounded, as all single rows have the same volume, and twins have none.
        return round(float(torch.linalg.det(kernel[members][:, members])), 9)

    while len(chosen) < count:
        left = [row for row in range(len(rows)) if row not in chosen]
        chosen.append(max(left, key=volume))
    return sorted(chosen)
