"""Changes against a threshold that moves, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp

from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "evs", "keep_ratio": 7 / 24, "gain": 0.3}
EXAMPLE = Example(
    settings={"keep_ratio": 0.4},
    clips=[angles(0, 0, 0, 0, 0), angles(0, 50, 10, 90, 20), angles(0, 50, 10, 90, 20)],
    rows=[[0, 1, 2, 3, 4], [1, 3], []],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float, gain: float) -> list[Expected]:
    """The first clip whole; in the second the share decides, from then on what came before."""
    expected, threshold = [Expected(rows=list(range(len(clips[0]))))], None
    for before, now in pairwise(clips):
        change = [_distance(*pair) for pair in zip(now.features, before.features, strict=True)]
        if threshold is None:
            below = len(change) - round(keep_ratio * len(change))
            threshold = min(2.0, max(1e-6, sorted(change)[below - 1]))
        rows = [cell for cell, each in enumerate(change) if each > threshold]
        expected.append(Expected(rows=rows))
        share = len(rows) / len(change)
        threshold = min(2.0, max(1e-6, threshold * exp(gain * (share / keep_ratio - 1))))
    return expected


def _distance(one: Tensor, other: Tensor) -> float:
    # What is alike to the last bits did not change.
    return max(0.0, round(1 - float(one @ other / (one.norm() * other.norm())), 12))
