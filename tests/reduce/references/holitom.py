"""Segments by a dynamic programme over what waits, then its description, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from math import ceil, exp, sqrt

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "holitom", "keep_ratio": 7 / 24, "similarity": 0.9, "segment_clips": 16}
_STILL = angles(0, 10, 90, 100, 180)
EXAMPLE = Example(
    settings={"keep_ratio": 0.3},
    clips=[_STILL, _STILL, _STILL],
    rows=[[0, 1, 2, 3, 4], [], []],
)
_BETA = 0.6


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, similarity: float, segment_clips: int
) -> list[Expected]:
    """The cuts that save most, each segment for itself. `segment_clips` is beyond all clips."""
    features = [clip.features for clip in clips]

    def still(start: int, end: int) -> list[int]:
        if end - start == 1:
            return []
        cells = range(len(features[0]))
        pairs = list(pairwise(features[start:end]))
        return [
            cell for cell in cells if all(_cosine(a[cell], b[cell]) > similarity for a, b in pairs)
        ]

    @cache
    def best(end: int) -> tuple[int, int]:
        """Most that the first clips can save, and where the last segment of that starts."""
        if not end:
            return 0, 0
        found = best(end - 1)[0], end - 1
        for start in range(end - 2, max(-1, end - segment_clips - 1), -1):
            saved = best(start)[0] + (end - start - 1) * len(still(start, end))
            if saved > found[0]:
                found = saved, start
        return found

    expected: list[Expected] = []
    end = len(clips)
    while end:
        start = best(end)[1]
        expected = _reduced(features[start:end], still(start, end), keep_ratio) + expected
        end = start
    return expected


def _reduced(clips: list[Tensor], still: list[int], keep_ratio: float) -> list[Expected]:
    """What moves is thinned in each clip; what is still is merged, and stands in the first one."""
    total = len(clips) * len(clips[0])
    left = total - (len(clips) - 1) * len(still)
    ratio = min(1.0, keep_ratio * total / left)
    stays: list[dict[int, tuple[Tensor, int]]] = []
    for clip in clips:
        mean = clip.mean(dim=0)
        alike = [round(_cosine(row, mean), 6) for row in clip]
        moving = [cell for cell in range(len(clip)) if cell not in still]
        moving.sort(key=lambda cell: alike[cell])
        stays.append({cell: (clip[cell], 1) for cell in moving[: ceil(len(moving) * ratio)]})
    if still:
        # In float32, as there: which of two twins is the denser must not hang on more bits.
        means = [torch.stack([clip[cell] for clip in clips]).float().mean(dim=0) for cell in still]
        owner = _peaks(means, max(1, int(len(still) * ratio + 0.5)))
        for centre in sorted(set(owner)):
            joined = [i for i, own in enumerate(owner) if own == centre and i != centre]
            feature = means[centre]
            if joined:
                others = torch.stack([means[i] for i in joined]).mean(dim=0)
                feature = _BETA * feature + (1 - _BETA) * others
            stays[0][still[centre]] = feature.double(), len(clips) * (len(joined) + 1)
    return [
        Expected(
            rows=sorted(own),
            features=torch.stack([own[row][0] for row in sorted(own)]) if own else clips[0][:0],
            weight=[own[row][1] for row in sorted(own)],
        )
        for own in stays
    ]


def _peaks(rows: list[Tensor], count: int) -> list[int]:
    """The owner of each row."""
    size = range(len(rows))
    far = [[float((a - b).norm()) / sqrt(len(a)) for b in rows] for a in rows]
    density = [
        round(exp(-sum(each**2 for each in sorted(row)[:7]) / min(7, len(row))), 6) for row in far
    ]
    apart = []
    for i in size:
        denser = [far[i][j] for j in size if (density[j], -j) > (density[i], -i)]
        apart.append(min(denser, default=max(map(max, far))))
    best = sorted(sorted(size, key=lambda i: -density[i] * apart[i])[:count])
    return [i if i in best else min(best, key=lambda c: far[i][c]) for i in size]


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
