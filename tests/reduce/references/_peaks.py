"""Density peaks with k nearest neighbours, every pair of rows looked at."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, sqrt

from torch import Tensor


def owners(rows: Sequence[Tensor], count: int, *, neighbours: int) -> list[int]:
    """Which of `count` centres each row belongs to; a centre is dense, and far from denser rows."""
    size = range(len(rows))
    far = [[round(float((a - b).norm()) / sqrt(len(a)), 9) for b in rows] for a in rows]
    density = []
    for row in far:
        nearest = sorted(row)[:neighbours]
        density.append(round(exp(-sum(each**2 for each in nearest) / len(nearest)), 9))
    score = []
    for i in size:
        denser = [far[i][j] for j in size if (density[j], -j) > (density[i], -i)]
        apart = min(denser, default=max(max(row) for row in far))
        score.append(density[i] * apart)
    centres = sorted(sorted(size, key=lambda i: -round(score[i], 9))[:count])
    return [i if i in centres else min(centres, key=lambda c, i=i: far[i][c]) for i in size]
