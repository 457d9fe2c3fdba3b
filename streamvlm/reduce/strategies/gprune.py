"""Keep what gathers most information in a graph of what is alike: information propagation.

After "What Kind of Visual Tokens Do We Need? Training-free Visual Token Pruning for Multi-modal
Large Language Models from the Perspective of Graph" (G-Prune, 2025, arXiv 2501.02268). Rows are
linked where they are alike. Each starts with its norm as information and hands it round; what has
gathered at a row is divided by how many it is linked to, so that a crowd counts little and what
stands alone counts as its norm. Here a row is linked to itself also where it is a zero vector, the
steps are products of a vector and a matrix, which gives what the authors' power of the matrix
gives, and nothing is kept besides: they keep the ends of rows of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.graph import handed_on
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows, row_lengths
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class GPrune:
    """Keep a fixed share of each clip, the rows that gathered most for the links they have."""

    about: ClassVar[About] = About(
        title="What Kind of Visual Tokens Do We Need? Training-free Visual Token Pruning for "
        "Multi-modal Large Language Models from the Perspective of Graph",
        year=2025,
        arxiv="2501.02268",
        kind="prune",
        cost="O(N^2 D)",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    least_cosine: Annotated[float, Ge(-1), Le(1)] = 0.5
    """Rows at least so alike are linked."""
    temperature: Annotated[float, Gt(0)] = 0.03
    """Of the softmax over the links of a row: the lower, the more stays with the most alike."""
    num_steps: Annotated[int, Ge(0)] = 5
    """How often information is handed on."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        # The logarithm compares small scores as closely as large ones.
        strength = in_steps(self.scores(tokens.features).log())
        return keep_rows(tokens, by_strength(strength)[:count])

    def scores(self, features: Tensor) -> Tensor:
        """float [N] of features [N,D], not negative: the higher, the rather kept."""
        rows = directions(features)
        cosine = rows @ rows.T  # [N, N]
        is_linked = (in_steps(cosine - self.least_cosine) >= 0).fill_diagonal_(True)
        links = cosine.masked_fill(~is_linked, -torch.inf) / self.temperature
        information = handed_on(row_lengths(features), links, num_steps=self.num_steps)
        return information / is_linked.sum(dim=1)
