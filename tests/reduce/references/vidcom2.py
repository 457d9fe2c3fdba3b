"""Kernels and moving means, number by number."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import torch
from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "vidcom2", "keep_ratio": 7 / 24, "horizon_clips": 3}
_ODD = make_tokens([[1.0, 1, 9, 2], [1, 1, 5, 7], [1, 1, 7, 1], [-1, 1, 8, 9], [1, 1, 6, 4]])
EXAMPLE = Example(settings={"keep_ratio": 0.2}, clips=[_ODD], rows=[[3]])


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, horizon_clips: int
) -> list[Expected]:
    """In the channels of the first clip that vary least, the rows that are least usual."""
    variance = clips[0].features.float().var(dim=0, correction=0).tolist()
    channels = sorted(range(len(variance)), key=lambda each: variance[each])[: len(variance) // 2]
    stream = clips[0].features
    expected = []
    for number, clip in enumerate(clips):
        rows = [row / row.norm() for row in clip.features[:, sorted(channels)]]
        mean = torch.stack(rows).mean(dim=0)
        if not number:
            stream, usual = mean, sum(_alike(row, mean) for row in rows) / len(rows)
        to_stream = [_alike(row, stream) for row in rows]
        here = sum(to_stream) / len(rows)
        share = exp(min(700.0, (usual - here) / 0.01)) if number else 1.0
        count = int(len(rows) * min(1.0, keep_ratio * min(2.0, max(0.5, share))) + 0.5)
        score = [known + _alike(row, mean) for known, row in zip(to_stream, rows, strict=True)]
        order = sorted(range(len(rows)), key=lambda row: round(score[row], 5))
        expected.append(Expected(rows=sorted(order[:count])))
        weight = 1 / min(number + 1, horizon_clips)
        stream = (1 - weight) * stream + weight * mean
        usual = (1 - weight) * usual + weight * here
    return expected


def _alike(one: Tensor, other: Tensor) -> float:
    square = float((one - other).square().sum())
    return sum(exp(-square / (2 * 2.0**power)) for power in range(-3, 2))
