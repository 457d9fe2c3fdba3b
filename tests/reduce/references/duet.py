"""The most attended tokens, and of the next most attended ones every fourth with what joins it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "duet", "keep_ratio": 7 / 24, "contextual_share": 3 / 7}
EXAMPLE = Example(
    # Row 4 is the most attended; row 3 the next, with whatever joins it.
    settings={"keep_ratio": 0.4, "contextual_share": 0.5},
    clips=[
        replace(angles(0, 10, 90, 80, 180), salience=torch.tensor([0.1, 0.2, 0.1, 0.3, 0.4])),
    ],
    rows=[[3, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, contextual_share: float
) -> list[Expected]:
    """Each clip for itself."""
    expected = []
    for clip in clips:
        count = round(keep_ratio * len(clip))
        expected.append(_zipped(clip, count, round(contextual_share * count)))
    return expected


def _zipped(clip: VisualTokens, count: int, num_contextual: int) -> Expected:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    by_attention = sorted(range(len(clip)), key=lambda row: -attention[row])
    dominant, others = (
        by_attention[: count - num_contextual],
        by_attention[count - num_contextual :],
    )
    pool = others[: 4 * num_contextual]
    targets = sorted(row for place, row in enumerate(pool) if place % 4 == 0)
    members = {row: [row] for row in dominant + targets}
    for row in pool:
        if row not in targets:
            alike = [_cosine(clip.features[row], clip.features[target]) for target in targets]
            members[targets[alike.index(max(alike))]].append(row)
    rows = sorted(members)
    return Expected(
        rows=rows,
        features=torch.stack([clip.features[members[row]].mean(dim=0) for row in rows]),
        weight=[len(members[row]) for row in rows],
    )


def _cosine(one: Tensor, other: Tensor) -> float:
    return round(float(one @ other / (one.norm() * other.norm())), 6)
