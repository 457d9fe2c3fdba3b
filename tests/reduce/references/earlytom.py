"""EarlyTom behind the tower: scenes, pairs of the middle, and what attention chooses of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

# Scenes that are long enough for a middle where something moves.
SPEC = {"name": "earlytom", "keep_ratio": 7 / 24, "similarity": 0.2}


def _clip(*salience: float) -> VisualTokens:
    return replace(angles(0, 0, 0, 0, 0), salience=torch.tensor(salience))


# The ends keep the two strongest; the middle one of the first three, and one of the last two.
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[_clip(0.1, 0.8, 0.9, 0.2, 0.3)] * 3,
    rows=[[1, 2], [2, 4], [1, 2]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, similarity: float
) -> list[Expected]:
    """Scenes of at most eight clips."""
    expected: list[Expected] = []
    scene: list[VisualTokens] = []
    likeness = 1.0
    for clip in clips:
        if scene:
            likeness = 0.9 * _alike(scene[0], clip) + 0.1 * likeness
            if likeness < similarity or len(scene) == 8:
                expected += _scene(scene, keep_ratio)
                scene, likeness = [], 1.0
        scene.append(clip)
    return expected + _scene(scene, keep_ratio)


def _scene(scene: Sequence[VisualTokens], keep_ratio: float) -> list[Expected]:
    weights = _pairs(scene)
    stays = [number for number in range(len(scene)) if number - 1 not in weights]
    count = round(keep_ratio * len(scene) * len(scene[0]))
    expected = []
    for number, clip in enumerate(scene):
        if number not in stays:
            expected.append(Expected(rows=[]))
            continue
        at = stays.index(number)
        share = count * (at + 1) // len(stays) - count * at // len(stays)
        features, salience, weight = clip.features, _salience(clip), 1
        if number in weights:
            own, behind = weights[number], scene[number + 1]
            features = own * features + (1 - own) * behind.features
            salience = own * salience + (1 - own) * _salience(behind)
            weight = 2
        strength = [round(float(each), 9) for each in salience]
        is_end = number in (0, len(scene) - 1)
        rows = _strongest(strength, share) if is_end else _windows(strength, share)
        expected.append(Expected(rows=rows, features=features[rows], weight=[weight] * share))
    return expected


def _pairs(scene: Sequence[VisualTokens]) -> dict[int, float]:
    """The clips that take in the one behind them, and what they weigh."""
    ends = _alike(scene[0], scene[-1])
    next_ones = [_alike(one, two) for one, two in pairwise(scene)]
    weights = {}
    number = 1
    while number + 1 < len(scene) - 1:
        own, behind = next_ones[number], next_ones[number + 1]
        if own > ends and own > behind and own > 0:
            weights[number] = own / (own + max(behind, 0))
            number += 1
        number += 1
    return weights


def _strongest(strength: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(strength)), key=lambda row: -strength[row])[:count])


def _windows(strength: list[float], count: int) -> list[int]:
    rows, start = [], 0
    for number in range(count):
        length = len(strength) // count + (number < len(strength) % count)
        rows.append(max(range(start, start + length), key=lambda row: strength[row]))
        start += length
    return rows


def _alike(one: VisualTokens, two: VisualTokens) -> float:
    cosines = [
        float(a @ b / (a.norm() * b.norm()))
        for a, b in zip(one.features, two.features, strict=True)
    ]
    return round(sum(cosines) / len(cosines), 9)


def _salience(clip: VisualTokens) -> Tensor:
    assert clip.salience is not None
    return clip.salience
