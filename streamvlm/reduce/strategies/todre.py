"""Keep rows that add up to the least likeness with each other: max-sum diversity.

After the first stage of "ToDRE: Effective Visual Token Pruning via Token Diversity and Task
Relevance" (2025, arXiv 2505.18757), told from its abstract and from notes, as no code of the
authors was found. Its first version is said to choose farthest first, as DivPrune does. Only the
sum counts: at the rim of what is shown it may keep near copies of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import directions, keep_rows, scaled
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.selection import least_alike
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ToDRE:
    """Keep a fixed share of each clip: the most salient row, then always the least alike one."""

    about: ClassVar[About] = About(
        title="ToDRE: Effective Visual Token Pruning via Token Diversity and Task Relevance",
        year=2025,
        arxiv="2505.18757",
        kind="prune",
        cost="O(kND)",
        substitution="The first row is the one that receives most attention in the tower, as there "
        "is no class token whose attention would tell it; all others are chosen as published. The "
        "second stage drops all visual tokens inside the language model, which no reducer is in.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        importance = scaled(received_attention(tokens))
        return keep_rows(tokens, least_alike(directions(tokens.features), importance, count))
