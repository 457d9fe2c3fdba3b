"""K-means by hand on what is not primary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "vmtc", "keep_ratio": 12 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.6},
    clips=[replace(angles(0, 90, 10, 80, 85), salience=torch.tensor([0.9, 0.1, 0.8, 0.2, 0.3]))],
    rows=[[0, 2, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [_kept(clip, round(keep_ratio * len(clip))) for clip in clips]


def _kept(clip: VisualTokens, count: int) -> Expected:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    order = sorted(range(len(clip)), key=lambda row: (-attention[row], row))
    num_primary = count * 3 // 4
    groups = [[row] for row in order[:num_primary]]
    groups += _clusters(clip.features, sorted(order[num_primary:]), count - num_primary)
    shown = {}
    for group in groups:
        total = sum(attention[row] for row in group)
        mean = sum(attention[row] / total * clip.features[row] for row in group)
        shown[min(group, key=order.index)] = (mean, len(group))
    rows = sorted(shown)
    return Expected(
        rows=rows,
        features=torch.stack([shown[row][0] for row in rows]),
        weight=[shown[row][1] for row in rows],
    )


def _clusters(features: Tensor, rows: list[int], count: int) -> list[list[int]]:
    """Those that are not empty."""
    starts = [rows[(2 * at + 1) * len(rows) // (2 * count)] for at in range(count)]
    centres = [features[row] / features[row].norm() for row in starts]
    groups: list[list[int]] = []
    for _ in range(11):
        before, groups = groups, [[] for _ in centres]
        for row in rows:
            cosines = [round(_cosine(features[row], centre), 6) for centre in centres]
            groups[cosines.index(max(cosines))].append(row)
        if groups == before:
            break
        for at, group in enumerate(groups):
            if group:
                centres[at] = sum(features[row] / features[row].norm() for row in group)
    return [group for group in groups if group]


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
