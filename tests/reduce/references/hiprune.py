"""Anchors one by one, their four neighbours one by one, then registers until enough are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

# Two anchors, at most eight buffers, and registers.
SPEC = {"name": "hiprune", "keep_ratio": 0.5, "anchored_share": 0.8}
EXAMPLE = Example(
    # An anchor, its two neighbours in a row of cells, and a register.
    settings={"keep_ratio": 0.8, "anchored_share": 1.0},
    clips=[
        replace(angles(0, 45, 90, 135, 180), salience=torch.tensor([0.5, 0.3, 0.0, 0.9, 0.1])),
    ],
    rows=[[0, 2, 3, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, anchored_share: float
) -> list[Expected]:
    """Each clip for itself."""
    expected = []
    for clip in clips:
        count = round(keep_ratio * len(clip))
        expected.append(Expected(rows=_kept(clip, count, round(count * anchored_share / 5))))
    return expected


def _kept(clip: VisualTokens, count: int, num_anchors: int) -> list[int]:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    _, height, width = clip.grid_thw
    by_attention = sorted(range(len(clip)), key=lambda row: -attention[row])
    anchors = by_attention[:num_anchors]
    kept = set(anchors)
    for anchor in anchors:
        down, across = divmod(anchor, width)
        for there in (
            (down - 1, across),
            (down + 1, across),
            (down, across - 1),
            (down, across + 1),
        ):
            if 0 <= there[0] < height and 0 <= there[1] < width:
                kept.add(there[0] * width + there[1])
    for row in by_attention:
        if len(kept) < count:
            kept.add(row)
    return sorted(kept)
