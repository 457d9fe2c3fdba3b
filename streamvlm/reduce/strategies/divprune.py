"""Keep rows that are as far from each other as can be: max-min diversity.

After "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models" (2025, arXiv
2503.02175). It covers the picture at few tokens, and takes what is odd first, noise too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import directions, keep_rows
from streamvlm.reduce.selection import farthest_first
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class DivPrune:
    """Keep a fixed share of each clip, chosen farthest first by cosine."""

    about: ClassVar[About] = About(
        title="DivPrune: Diversity-based Visual Token Pruning for Large Multimodal Models",
        year=2025,
        arxiv="2503.02175",
        kind="prune",
        cost="O(N^2 D + kN)",
        licence="CC BY-NC 4.0",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        return keep_rows(tokens, farthest_first(directions(tokens.features), count))
