"""The schedule of FlowCut, layer by layer, with lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "flowcut", "keep_ratio": 7 / 24}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[replace(angles(0, 0, 0, 0, 0), salience=torch.tensor([0.1, 0.9, 0.1, 0.8, 0.1]))],
    rows=[[1, 3]],
)
LAYERS = 22


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_kept(clip, round(keep_ratio * len(clip)))) for clip in clips]


def _kept(clip: VisualTokens, target: int) -> list[int]:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    rows, cumulative = list(range(len(clip))), {}
    for layer in range(LAYERS):
        layers_left = LAYERS - layer - 1
        if len(rows) <= target:
            break
        scores = _scores([clip.features[row] for row in rows], [attention[row] for row in rows])
        for row, score in zip(rows, scores, strict=True):
            cumulative[row] = 0.5 * cumulative[row] + 0.5 * score if layer else score
        if layers_left % 2:
            continue
        number = len(rows) - target
        if layers_left:
            shares = [attention[row] / sum(attention[each] for each in rows) for row in rows]
            entropy = -sum(share * math.log(share) for share in shares) / math.log(len(rows))
            number = min(number, round(number / math.sqrt(layers_left) * (1 - entropy**2)))
        unit = sum(cumulative[row] for row in rows) / len(rows)
        order = sorted(rows, key=lambda row, unit=unit: (-round(cumulative[row] / unit, 6), row))
        rows = sorted(order[: len(rows) - number])
    return rows


def _scores(features: list[Tensor], attention: list[float]) -> list[float]:
    mean = sum(features[1:], features[0]) / len(features)
    semantic = [math.exp(float(each @ mean / (each.norm() * mean.norm()))) for each in features]
    return [
        (relation / sum(attention) + meaning / sum(semantic)) * float(each.abs().sum())
        for each, relation, meaning in zip(features, attention, semantic, strict=True)
    ]
