"""The token filter of a resampler, and attention without trained maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "textmonkey", "keep_ratio": 7 / 24}
# Of 0 and 10 degrees, and of 90 and 100, the later one has nothing like it behind it.
EXAMPLE = Example(
    settings={"keep_ratio": 0.6}, clips=[angles(0, 10, 90, 100, 180)], rows=[[1, 3, 4]]
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Each clip for itself."""
    return [_kept(clip.features, round(keep_ratio * len(clip))) for clip in clips]


def _kept(rows: Tensor, count: int) -> Expected:
    def alike(row: int) -> float:
        """To the most alike row behind; nothing is behind the last one."""
        return max((_cosine(rows[row], other) for other in rows[row + 1 :]), default=-2.0)

    queries = sorted(sorted(range(len(rows)), key=alike)[:count])
    members: dict[int, list[int]] = {query: [query] for query in queries}
    for row in set(range(len(rows))) - set(queries):
        nearest = max(queries, key=lambda query: _cosine(rows[row], rows[query]))
        members[nearest].append(row)
    return Expected(
        rows=queries,
        features=torch.stack([_attended(rows[query], rows[members[query]]) for query in queries]),
        weight=[len(members[query]) for query in queries],
    )


def _attended(query: Tensor, rows: Tensor) -> Tensor:
    logits = [math.sqrt(len(query)) * float(_exact(query, row)) for row in rows]
    weights = torch.softmax(torch.tensor(logits, dtype=rows.dtype), dim=0)
    return (weights[:, None] * rows).sum(dim=0)


def _cosine(one: Tensor, other: Tensor) -> float:
    return round(float(_exact(one, other)), 6)


def _exact(one: Tensor, other: Tensor) -> Tensor:
    return one @ other / (one.norm() * other.norm())
