"""Bipartite matching: rows join others that they match best, round after round.

The step of "Token Merging: Your ViT But Faster" (ToMe, 2022, arXiv 2210.09461), and what those that
follow it make of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from streamvlm.reduce.ops import by_strength, directions, first_highest, in_steps


def join_alike(features: Tensor, count: int, protection: Tensor | None = None) -> Tensor:
    """int64 [N]: which of `count` > 0 rows each row of features [N,D] joins.

    In each round every second row looks for the most alike of the others, and those that found the
    most alike ones join them; at most half of the rows leave in a round. `protection`, float [N],
    is what their cosine must outweigh; rows that have joined are protected together.
    """
    rows = owner = torch.arange(len(features), device=features.device)
    sums = features.to(torch.promote_types(features.dtype, torch.float32))
    while len(rows) > count:
        staying, leaving = rows[0::2], rows[1::2]
        # The direction of a sum is that of the mean.
        score = directions(sums[leaving]) @ directions(sums[staying]).T
        if protection is not None:
            score = score - protection[leaving, None]
        most, nearest = best_pairs(score, len(rows) - count)
        gone, into = leaving[most], staying[nearest]
        sums = sums.index_add(0, into, sums[gone])
        if protection is not None:
            protection = protection.index_add(0, into, protection[gone])
        owner = follow(owner, gone, into)
        rows = rows[owner[rows] == rows]
    return owner


def best_pairs(score: Tensor, at_most: int) -> tuple[Tensor, Tensor]:
    """Of float [leaving,staying] the leaving ones whose best score is highest, and which staying
    one each of them found: int64 [n] and [n]. Scores are compared in steps.
    """
    nearest = first_highest(score)
    best = score.gather(1, nearest[:, None])[:, 0]
    most = by_strength(in_steps(best))[:at_most]
    return most, nearest[most]


def follow(owner: Tensor, gone: Tensor, into: Tensor) -> Tensor:
    """The owner, int64 [N], where whatever joined the rows `gone` has joined those of `into`."""
    joins = torch.arange(len(owner), device=owner.device).index_copy(0, gone, into)
    return joins[owner]
