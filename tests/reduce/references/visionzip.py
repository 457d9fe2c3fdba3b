"""The most attended tokens, and evenly spaced others that are the means of what joins them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "visionzip", "keep_ratio": 7 / 24, "contextual_share": 3 / 7}
EXAMPLE = Example(
    # Row 4 is the most attended; of the others every second is a target.
    settings={"keep_ratio": 0.6, "contextual_share": 2 / 3},
    clips=[
        replace(angles(0, 10, 90, 80, 180), salience=torch.tensor([0.1, 0.2, 0.1, 0.2, 0.4])),
    ],
    rows=[[0, 2, 4]],
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
    dominant = by_attention[: count - num_contextual]
    rest = [row for row in range(len(clip)) if row not in dominant]
    step = len(rest) // num_contextual
    targets = [rest[number * step] for number in range(num_contextual)]
    members = {row: [row] for row in dominant + targets}
    for row in rest:
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
