"""A thumbnail pooled and enlarged by hand, four crops, and each crop's best tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "globalcom2", "keep_ratio": 10 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[replace(angles(0, 0, 0, 0, 0), salience=torch.tensor([0.05, 0.01, 0.01, 0.4, 0.5]))],
    rows=[[0, 4]],
)
Map = list[list[float]]


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_kept(clip, round(keep_ratio * len(clip)))) for clip in clips]


def _kept(clip: VisualTokens, count: int) -> list[int]:
    _, height, width = clip.grid_thw
    assert clip.salience is not None
    logits = [math.log(float(each)) for each in clip.salience]
    mean = sum(logits) / len(logits)
    local = [[logits[row * width + at] - mean for at in range(width)] for row in range(height)]
    small = _pooled(local, height // 2, width // 2)
    large = _enlarged(small, height, width)
    crops = [
        [(row, at) for row in _half(height, down) for at in _half(width, across)]
        for down in (0, 1)
        for across in (0, 1)
    ]
    sums = [sum(local[row][at] for row, at in crop) / 4 for crop in crops]
    powers = [math.exp(each / 10) for each in sums]
    scales = [1 + each / sum(powers) - 1 / 4 for each in powers]
    quotas = [len(crops[0]) * scale for scale in scales]
    quotas = [count * quota / sum(quotas) for quota in quotas]
    counts = [int(quota) for quota in quotas]
    # All crops are of one size, and none is full.
    assert max(quotas) < len(crops[0])
    left = sorted(range(4), key=lambda at: (-round(quotas[at] - counts[at], 6), at))
    for at in left[: count - sum(counts)]:
        counts[at] += 1
    rows = []
    for crop, number in zip(crops, counts, strict=True):
        near = _unit([local[row][at] for row, at in crop])
        far = _unit([large[row][at] for row, at in crop])
        score = [round(one + other, 6) for one, other in zip(near, far, strict=True)]
        best = sorted(range(len(crop)), key=lambda at, score=score: (-score[at], at))[:number]
        rows += [crop[at][0] * width + crop[at][1] for at in best]
    return sorted(rows)


def _half(size: int, which: int) -> list[int]:
    return [at for at in range(size) if at * 2 // size == which]


def _pooled(values: Map, height: int, width: int) -> Map:
    """Means of 2 x 2."""
    return [
        [
            sum(values[2 * row + down][2 * at + across] for down in (0, 1) for across in (0, 1)) / 4
            for at in range(width)
        ]
        for row in range(height)
    ]


def _enlarged(small: Map, height: int, width: int) -> Map:
    """Bilinear, centres on centres."""
    large = []
    for row in range(height):
        top, bottom, down = _between(row, len(small), height)
        values = []
        for at in range(width):
            left, right, across = _between(at, len(small[0]), width)
            upper = small[top][left] * (1 - across) + small[top][right] * across
            lower = small[bottom][left] * (1 - across) + small[bottom][right] * across
            values.append(upper * (1 - down) + lower * down)
        large.append(values)
    return large


def _between(at: int, small: int, large: int) -> tuple[int, int, float]:
    place = max(0.0, (at + 0.5) * small / large - 0.5)
    low = int(place)
    return low, min(low + 1, small - 1), place - low


def _unit(values: list[float]) -> list[float]:
    length = math.sqrt(sum(each**2 for each in values))
    return [each / length for each in values]
