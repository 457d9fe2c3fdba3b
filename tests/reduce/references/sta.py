"""Temporal accumulation, every similarity worked out for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "sta", "keep_ratio": 7 / 24}
SAME, STRONG, NEW = [1.0, 0.0], [3.0, 0.0], [0.0, 1.0]
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[make_tokens([SAME] * 5), make_tokens([SAME, SAME, STRONG, SAME, NEW])],
    rows=[[1, 3], [2, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Forwards through the stream."""
    first = clips[0].features
    kept = [_halved(first, round(keep_ratio * len(first)))]
    past, accumulated = list(first), [1.0] * len(first)
    for clip in clips[1:]:
        rows = range(len(clip))
        score = [0.0] * len(clip)
        for before, value in zip(past, accumulated, strict=True):
            weights = [math.exp(_cosine(clip.features[row], before)) for row in rows]
            for row in rows:
                score[row] += weights[row] / sum(weights) * value
        strength = _min_max([float(row.abs().sum()) for row in clip.features])
        # Of the order of 1, so that six places say the same in every clip.
        unit = sum(score) / len(score)
        final = [round(score[row] * (1 - strength[row]) / unit, 6) for row in rows]
        chosen = sorted(rows, key=lambda row, final=final: (final[row], row))
        chosen = sorted(chosen[: round(keep_ratio * len(clip))])
        kept.append(chosen)
        past = [clip.features[row] for row in chosen]
        total = sum(score[row] for row in chosen)
        accumulated = [score[row] / total for row in chosen]
    return [Expected(rows=rows) for rows in kept]


def _halved(features: Tensor, count: int) -> list[int]:
    rows = list(range(len(features)))
    while len(rows) > count:
        leaving, staying = rows[0::2], rows[1::2]
        best = {
            row: round(max(_cosine(features[row], features[other]) for other in staying), 6)
            for row in leaving
        }
        leaving.sort(key=lambda row, best=best: (best[row], row))
        rows = sorted(staying + leaving[: max(0, count - len(staying))])
    return rows


def _min_max(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
