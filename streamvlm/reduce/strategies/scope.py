"""Keep salient rows that all others resemble one of: coverage, or facility location.

After "SCOPE: Saliency-Coverage Oriented Token Pruning for Efficient Multimodel LLMs" (2025, arXiv
2510.24214). A row is worth what choosing it adds to how well the picture is covered, times its
salience; so it takes the middle of every crowd, the largest first, where diversity takes the rim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import directions, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.selection import most_coverage
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SCOPE:
    """Keep a fixed share of each clip, greedily by coverage and salience."""

    about: ClassVar[About] = About(
        title="SCOPE: Saliency-Coverage Oriented Token Pruning for Efficient Multimodel LLMs",
        year=2025,
        arxiv="2510.24214",
        kind="prune",
        cost="O(N^2 D + kN^2)",
        substitution="Salience is the attention that a token receives of all others in the tower, "
        "as there is no class token to give it; it weights the same gain.",
    )
    keep_ratio: KeepRatio = 0.25
    salience_power: Annotated[float, Ge(0)] = 1.0
    """What salience is raised to before it weights; 0: coverage alone."""

    @property
    def needs(self) -> frozenset[Signal]:
        """Signals that must be present in the tokens."""
        return frozenset({"salience"}) if self.salience_power else frozenset()

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        rows = directions(tokens.features)
        importance = (
            received_attention(tokens).to(rows.dtype) ** self.salience_power
            if self.salience_power
            else torch.ones_like(rows[:, 0])
        )
        return keep_rows(tokens, most_coverage(rows, importance, count))
