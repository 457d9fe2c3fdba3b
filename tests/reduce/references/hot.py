"""Density peaks, every distance looked up one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "hot", "keep_ratio": 7 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[make_tokens([[0.0, 0.0], [0.0, 0.0], [8.0, 8.0], [8.0, 8.0], [0.0, 1.0]])],
    rows=[[0, 2]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_centres(clip.features, round(keep_ratio * len(clip)))) for clip in clips]


def _centres(rows: Tensor, count: int, *, neighbours: int = 2) -> list[int]:
    size = range(len(rows))
    far = [
        [float((one - other).norm()) / math.sqrt(rows.shape[1]) for other in rows] for one in rows
    ]
    nearest = [sorted(row)[:neighbours] for row in far]
    # To six places: what differs by rounding is equal, and the lower row wins.
    density = [round(math.exp(-sum(each**2 for each in near) / neighbours), 6) for near in nearest]
    score = {}
    for row in size:
        denser = [
            far[row][other] for other in size if (density[other], -other) > (density[row], -row)
        ]
        apart = min(denser) if denser else max(map(max, far))
        score[row] = round(density[row] * apart, 6)
    return sorted(sorted(size, key=lambda row: (-score[row], row))[:count])
