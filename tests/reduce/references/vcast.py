"""V-CAST: a softmax of curvature over the clips seen so far, and two anchors inside a clip."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "vcast", "keep_ratio": 7 / 24}
# The longest, and the one that points elsewhere.
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[make_tokens([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])],
    rows=[[3, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """A clip's part of the softmax, times the clips it goes over, times the ratio."""
    path = [clip.features.mean(dim=0) / clip.features.mean(dim=0).norm() for clip in clips]
    turns: list[float] = []
    expected = []
    for number, clip in enumerate(clips):
        curvature = 1.0
        if 0 < number < len(clips) - 1:
            here = path[number] - path[number - 1]
            curvature = 1 - _cosine(here, path[number + 1] - path[number])
        turns.append(exp(curvature / 0.7))
        part = turns[-1] / sum(turns) * len(turns)
        count = int(min(1.0, keep_ratio * part) * len(clip) + 0.5)
        scores = _scores(clip.features, path[number])
        rows = sorted(range(len(clip)), key=lambda row, scores=scores: -scores[row])
        expected.append(Expected(rows=sorted(rows[:count])))
    return expected


def _scores(rows: Tensor, mean: Tensor) -> list[float]:
    odd = _to_unit([1 - _cosine(row, mean) for row in rows])
    length = _to_unit([float(row.norm()) for row in rows])
    return [round(one + other, 6) for one, other in zip(odd, length, strict=True)]


def _to_unit(values: list[float]) -> list[float]:
    return [(each - min(values)) / (max(values) - min(values)) for each in values]


def _cosine(one: Tensor, other: Tensor) -> float:
    lengths = float(one.norm() * other.norm())
    return float(one @ other) / lengths if lengths else 0.0
