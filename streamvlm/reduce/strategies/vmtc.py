"""Keep what the tower attends to, condense the rest: clusters of it become one token each.

After "Enhancing Instruction-Following Capability of Visual-Language Models by Reducing Image
Redundancy" (2024, arXiv 2411.15453), its visual-modality token compression (VMTC); what it does
inside the language model is left out. The most attended tokens stay; the others are clustered by
k-means with cosines, and a cluster's mean is weighted by attention. Not checked, as only summaries
were at hand: how many tokens are primary, where k-means begins and when it ends. Here three in four
of those kept are primary, and k-means begins with evenly spaced tokens. A cluster that nobody is
in, as the others are alike, is no token: then fewer are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, evenly_spaced, first_highest, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.weighted import merge_weighted
from streamvlm.types import KeptTokens, VisualTokens

_MOST_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VMTC:
    """Keep a fixed share of each clip: primary tokens, and means of the others."""

    about: ClassVar[About] = About(
        title="Enhancing Instruction-Following Capability of Visual-Language Models by Reducing"
        " Image Redundancy",
        year=2024,
        arxiv="2411.15453",
        kind="merge",
        cost="O(10 N k D)",
        substitution="The attention that a token receives stands for that of a class token: both"
        " rank tokens by what the tower looks at.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    primary: Annotated[float, Gt(0), Le(1)] = 0.75
    """Share of those kept that stay as they are; 1: the others are left out."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens, or fewer where more are alike."""
        attention = received_attention(tokens)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        order = by_strength(attention)
        if count in (0, len(tokens)):
            return keep_rows(tokens, order[:count])
        num_primary = num_kept(count, self.primary)
        primary, others = order[:num_primary], order[num_primary:].sort().values
        owner = torch.full_like(order, -1).index_copy(0, primary, primary)
        if num_primary < count:
            group = _clusters(directions(tokens.features[others]), count - num_primary)
            rank = torch.empty_like(order)
            rank[order] = torch.arange(len(order), device=order.device)
            # The most attended member stands for its cluster.
            best = torch.full_like(order, len(order) - 1)
            best = best.scatter_reduce(0, group, rank[others], "amin")
            owner = owner.index_copy(0, others, order[best[group]])
        return merge_weighted(tokens, owner, attention)


def _clusters(rows: Tensor, count: int) -> Tensor:
    """int64 [n]: which of `count` <= n clusters each of the directions [n,D] is in."""
    centres = rows[evenly_spaced(len(rows), count, rows.device)]
    group = first_highest(rows @ centres.T)
    for _ in range(_MOST_ROUNDS):
        before = group
        sums = torch.zeros_like(centres).index_add(0, group, rows)
        is_empty = torch.bincount(group, minlength=count) == 0
        centres = torch.where(is_empty[:, None], centres, directions(sums))
        group = first_highest(rows @ centres.T)
        if torch.equal(group, before):
            break
    return group
