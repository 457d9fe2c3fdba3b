"""The published score of every token, variance of likeness and all; then crop by crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import floor

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

# So much that some crops are over-full.
SPEC = {"name": "holov", "keep_ratio": 0.8, "num_crops": 5}
EXAMPLE = Example(
    # Crops 0, 1, 2 and 3, 4: the second is looked at twice as much, so two of three are of it.
    settings={"keep_ratio": 0.6, "num_crops": 2},
    clips=[
        replace(angles(0, 45, 90, 135, 180), salience=torch.tensor([0.2, 0.3, 0.1, 0.3, 0.5])),
    ],
    rows=[[1, 3, 4]],
)


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, num_crops: int
) -> list[Expected]:
    """Each clip for itself."""
    return [Expected(rows=_kept(clip, round(keep_ratio * len(clip)), num_crops)) for clip in clips]


def _kept(clip: VisualTokens, count: int, num_crops: int) -> list[int]:
    assert clip.salience is not None
    attention = clip.salience.tolist()
    crops, start = [], 0
    for number in range(num_crops):
        end = start + len(clip) // num_crops + (1 if number < len(clip) % num_crops else 0)
        crops.append(list(range(start, end)))
        start = end
    scores = [_mean(_scores(crop, clip.features, attention)) for crop in crops]
    taken = [0] * num_crops
    while sum(taken) < count:
        _hand_out(count - sum(taken), scores, [len(crop) for crop in crops], taken)
    kept = []
    for crop, number in zip(crops, taken, strict=True):
        kept += sorted(crop, key=lambda row: -attention[row])[:number]
    return sorted(kept)


def _scores(crop: Sequence[int], features: Tensor, attention: Sequence[float]) -> list[float]:
    """1000 x attention + 0.09 x variance, the latter scaled as the former."""
    attended = [1000 * attention[row] for row in crop]
    variances = []
    for row in crop:
        # The token itself counts as one of likeness 0, though not in the number of the others.
        alike = [0.0 if row == other else _cosine(features[row], features[other]) for other in crop]
        mean = sum(alike) / (len(crop) - 1)
        variances.append(sum((each - mean) ** 2 for each in alike) / (len(crop) - 1))
    scale = _mean(attended) / _mean(variances)
    return [
        one + 0.09 * scale * variance for one, variance in zip(attended, variances, strict=True)
    ]


def _hand_out(left: int, scores: Sequence[float], sizes: Sequence[int], taken: list[int]) -> None:
    """One round of it; no crop takes more than it has."""
    takers = [crop for crop in range(len(sizes)) if taken[crop] < sizes[crop]]
    total = sum(scores[crop] for crop in takers)
    handed = 0
    offers = {}
    for crop in takers:
        offers[crop] = floor(round(left * scores[crop] / total, 6))
        handed += offers[crop]
    # Scores to six places, as equal ones may differ by rounding.
    for crop in sorted(takers, key=lambda crop: -round(scores[crop] / total, 6))[: left - handed]:
        offers[crop] += 1
    for crop in takers:
        taken[crop] = min(sizes[crop], taken[crop] + offers[crop])


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
