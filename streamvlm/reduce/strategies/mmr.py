"""Keep what is important and unlike what is kept already: maximal marginal relevance.

After "IDPruner: Harmonizing Importance and Diversity in Visual Token Pruning for MLLMs" (2026,
arXiv 2602.13315), whose importance is learned; that of GreedyPrune (2025, arXiv 2506.13166) is read
off attention. Here it is novelty: how far a cell is from what was last kept of it, or, where
nothing was, from the mean of its clip; or the attention that it receives in the tower. "The Use of
MMR" is of Carbonell and Goldstein, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import directions, keep_rows, novelty, scaled
from streamvlm.reduce.salience import Salience, needed_for, received_attention
from streamvlm.reduce.selection import most_relevant
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class MMR:
    """Keep a fixed share of each clip."""

    about: ClassVar[About] = About(
        title="IDPruner: Harmonizing Importance and Diversity in Visual Token Pruning for MLLMs",
        year=2026,
        arxiv="2602.13315",
        kind="prune",
        cost="O(kND)",
        licence="Apache-2.0",
        substitution="Novelty or received attention in place of a learned importance, which the "
        "rule takes as it comes.",
    )
    keep_ratio: KeepRatio = 0.25
    importance_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """Of importance; the rest is of being unlike what is chosen. 0: the first row is the first."""
    salience: Salience = "novelty"
    """What importance is."""

    @property
    def needs(self) -> frozenset[Signal]:
        """Signals that must be present in the tokens."""
        return needed_for(self.salience)

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        is_attention = self.salience == "attention"
        importance = scaled(
            received_attention(tokens) if is_attention else novelty(tokens, context.reference)
        )
        rows = most_relevant(directions(tokens.features), importance, count, self.importance_weight)
        return keep_rows(tokens, rows)
