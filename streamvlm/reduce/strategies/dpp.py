"""Keep rows that span the most volume: a determinantal point process.

After "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs"
(CDPruner, 2025, arXiv 2506.10967), with every row equally relevant: at ingest there is no text to
weight them with. Rows that say nothing new, of which a still picture is full, make the published
update divide by nothing; here the lowest index goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import directions, keep_rows
from streamvlm.reduce.selection import most_volume
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class DPP:
    """Keep a fixed share of each clip, greedily by the volume of the directions."""

    about: ClassVar[About] = About(
        title=(
            "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in "
            "MLLMs"
        ),
        year=2025,
        arxiv="2506.10967",
        kind="prune",
        cost="O(N^2 D + k^2 N)",
        licence="Apache-2.0",
        substitution="Every row is as relevant as any other: nobody asks anything at ingest. The "
        "paper has this case too, as diversity without a condition.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        return keep_rows(tokens, most_volume(directions(tokens.features), count))
