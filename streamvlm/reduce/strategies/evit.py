"""Keep what is attended to, and fuse all that is not into one token.

After "Not All Patches are What You Need: Expediting Vision Transformers via Token Reorganizations"
(EViT, 2022, arXiv 2202.07800), which does so in three layers of a tower that is trained with it;
here once, behind the tower. There the fused token is the sum of the others, each times its
attention, and its length next to nothing; a language model that was not trained for that is given
their mean by attention, where the most attended of them stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.weighted import merge_weighted
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class EViT:
    """Keep a fixed share of each clip; the last one of it is the fused token."""

    about: ClassVar[About] = About(
        title="Not All Patches are What You Need: Expediting Vision Transformers via Token"
        " Reorganizations",
        year=2022,
        arxiv="2202.07800",
        kind="merge",
        cost="O(N log N + ND)",
        licence="Apache-2.0",
        substitution="The attention of the class token is what a token receives of all others: both"
        " rank what the tower looks at.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        attention = received_attention(tokens)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        rows = by_strength(attention)
        fused = rows[count - 1 :]
        owner = torch.arange(len(tokens), device=rows.device)
        owner = owner.index_copy(0, fused, fused[:1].expand(len(fused)))
        return merge_weighted(tokens, owner, attention)
