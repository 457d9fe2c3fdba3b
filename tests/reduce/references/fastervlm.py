"""The most attended tokens, taken one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "fastervlm", "keep_ratio": 7 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[
        replace(angles(0, 45, 90, 135, 180), salience=torch.tensor([0.1, 0.4, 0.2, 0.4, 0.4])),
    ],
    rows=[[1, 3]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_most_attended(clip, round(keep_ratio * len(clip)))) for clip in clips]


def _most_attended(clip: VisualTokens, count: int) -> list[int]:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    left, chosen = list(range(len(clip))), []
    while len(chosen) < count:
        best = max(left, key=lambda row: attention[row])  # of equal ones the first
        left.remove(best)
        chosen.append(best)
    return sorted(chosen)
