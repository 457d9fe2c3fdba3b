"""The most attended tokens and, of the others, those that outlast rounds of leaving near-copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "vispruner", "keep_ratio": 7 / 24}
EXAMPLE = Example(
    # Row 4 is the most attended; of the others row 2 is a copy of row 1.
    settings={"keep_ratio": 0.8, "attended_share": 0.25},
    clips=[
        replace(angles(0, 91, 90, 180, 135), salience=torch.tensor([0.4, 0.3, 0.2, 0.1, 0.5])),
    ],
    rows=[[0, 1, 3, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_kept(clip, round(keep_ratio * len(clip)))) for clip in clips]


def _kept(clip: VisualTokens, count: int) -> list[int]:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    rows = sorted(range(len(clip)), key=lambda row: -attention[row])
    attended, rest = rows[: count // 2], rows[count // 2 :]
    target = count - len(attended)
    while len(rest) > target:
        looking = [row for place, row in enumerate(rest) if place % 2 == 0]
        staying = [row for place, row in enumerate(rest) if place % 2 == 1]
        alike = {
            row: max(_cosine(clip.features[row], clip.features[other]) for other in staying)
            for row in looking
        }
        looking.sort(key=lambda row: -alike[row])
        rest = looking[min(8, len(rest) - target) :] + staying
    return sorted(attended + rest)


def _cosine(one: Tensor, other: Tensor) -> float:
    return round(float(one @ other / (one.norm() * other.norm())), 6)
