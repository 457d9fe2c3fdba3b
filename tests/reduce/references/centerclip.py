"""Medoids of every four clips, begun with the longest row and the farthest ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from made_tokens import make_tokens

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "centerclip", "keep_ratio": 7 / 24}
# Three at the left, two at the right: the middle one of the left, and the first of the right.
EXAMPLE = Example(
    settings={"keep_ratio": 0.4, "segment_clips": 1},
    clips=[make_tokens([[0.0, 1.0], [9.0, 0.0], [0.0, 3.0], [0.0, 2.0], [9.0, 1.0]])],
    rows=[[1, 3]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Segments of four clips, the last one as long as it is."""
    expected = []
    for start in range(0, len(clips), 4):
        segment = clips[start : start + 4]
        rows = [row for clip in segment for row in clip.features]
        clusters = _clusters(torch.stack(rows), round(keep_ratio * len(rows)))
        num_cells = len(segment[0])
        for number in range(len(segment)):
            here = sorted(each for each in clusters if each // num_cells == number)
            expected.append(
                Expected(
                    rows=[each % num_cells for each in here],
                    weight=[len(clusters[each]) for each in here],
                )
            )
    return expected


def _clusters(features: torch.Tensor, count: int) -> dict[int, list[int]]:
    """Medoid -> rows of its cluster."""
    rows = range(len(features))
    # To six places: what differs by rounding is equal, and the lower row wins.
    far = [[round(float((one - two).norm()), 6) for two in features] for one in features]
    medoids = [max(rows, key=lambda row: round(float(features[row].norm()), 6))]
    while len(medoids) < count:
        left = [row for row in rows if row not in medoids]
        medoids.append(max(left, key=lambda row: min(far[row][each] for each in medoids)))
    while True:
        medoids.sort()
        clusters: dict[int, list[int]] = {each: [] for each in medoids}
        for row in rows:
            own = min(medoids, key=lambda each, row=row: far[row][each])
            clusters[row if row in medoids else own].append(row)
        moved = [
            min(members, key=lambda row, m=members: round(sum(far[row][each] for each in m), 5))
            for members in clusters.values()
        ]
        if sorted(moved) == medoids:
            return clusters
        medoids = moved
