"""Attentive token identification and inattentive token fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "evit", "keep_ratio": 7 / 24}
# Rows 1 and 4 stay; of the others row 2 is looked at most.
EXAMPLE = Example(
    settings={"keep_ratio": 0.6},
    clips=[
        replace(angles(0, 10, 90, 100, 180), salience=torch.tensor([0.1, 0.3, 0.2, 0.1, 0.3])),
    ],
    rows=[[1, 2, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [_kept(clip, round(keep_ratio * len(clip))) for clip in clips]


def _kept(clip: VisualTokens, count: int) -> Expected:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    ranked = sorted(range(len(clip)), key=lambda row: -attention[row])
    fused = ranked[count - 1 :]
    total = sum(attention[row] for row in fused)
    mean = sum((attention[row] / total * clip.features[row] for row in fused), torch.zeros(()))
    rows = sorted(ranked[:count])
    return Expected(
        rows=rows,
        features=torch.stack([mean if row == fused[0] else clip.features[row] for row in rows]),
        weight=[len(fused) if row == fused[0] else 1 for row in rows],
    )
