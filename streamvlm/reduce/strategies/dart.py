"""Keep a few large rows, and for each of them what is least like it: little duplication.

After "Stop Looking for Important Tokens in Multimodal Language Models: Duplication Matters More"
(DART, 2025, arXiv 2502.11494). A pivot after the other takes its share of the rows that no other
has taken; what they take is compared with the pivots only, not with each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows, scaled
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class DART:
    """Keep a fixed share of each clip: pivots, and what they have least in common with."""

    about: ClassVar[About] = About(
        title="Stop Looking for Important Tokens in Multimodal Language Models: Duplication "
        "Matters More",
        year=2025,
        arxiv="2502.11494",
        kind="prune",
        cost="O(ND) a pivot",
        substitution="Pivots are the largest features, where the paper takes the largest keys of "
        "an early layer of the language model, which has not run yet; and there is no text whose "
        "tokens would be the other half of them. The paper finds that it matters little which "
        "tokens are pivots (not checked); what is kept for them follows the same rule.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    num_pivots: Annotated[int, Ge(1)] = 4
    """As many as the paper takes of a picture."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        size = torch.linalg.vector_norm(tokens.features, ord=1, dim=1, dtype=torch.float64)
        pivots = by_strength(in_steps(scaled(size)))[: min(self.num_pivots, count)]
        return keep_rows(tokens, _with_unlike(directions(tokens.features), pivots, count))


def _with_unlike(rows: Tensor, pivots: Tensor, count: int) -> Tensor:
    """int64 [count]: `pivots`, int64 [P], and for each in turn the same number of the others, those
    with the lowest cosine to it; the last ones get less where it does not work out.
    """
    share = -(-(count - len(pivots)) // max(1, len(pivots)))
    chosen = pivots
    for likeness in in_steps(rows[pivots] @ rows.T):
        others = by_strength(-likeness.index_fill(0, chosen, torch.inf))
        chosen = torch.cat([chosen, others[: min(share, count - len(chosen))]])
    return chosen
