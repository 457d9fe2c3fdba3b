"""Merge rows that are alike, two by two: bipartite matching.

After "Token Merging: Your ViT But Faster" (ToMe, 2022, arXiv 2210.09461) as AIM (2024, arXiv
2412.03248) uses it on the tokens of a clip. AIM forgets how many tokens a merged one stands for and
scrambles their order; here a mean is of all members, and stands where one of them stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.matching import join_alike
from streamvlm.reduce.ops import keep_rows, merge_rows
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ToMe:
    """Merge each clip down to a fixed share of its tokens."""

    about: ClassVar[About] = About(
        title="Token Merging: Your ViT But Faster",
        year=2022,
        arxiv="2210.09461",
        kind="merge",
        cost="O(N^2 D)",
        licence="CC BY-NC 4.0",
        substitution="The tokens of a clip in rounds, as AIM does it, in place of the keys in each "
        "layer of a tower.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        return merge_rows(tokens, join_alike(tokens.features, count))
