"""A tile that repeats itself keeps little, and what it keeps is what the tower attends to.

After "Token-level Correlation-guided Compression for Efficient Multimodal Document Understanding"
(2024, arXiv 2407.14439). A token that many others of its sub-image look like is redundant; the
share of the others is the information density, and with it goes the budget. There the densities
are the budget, here they divide a fixed one. Not checked, as its full text was not at hand: from
which cosine on tokens are alike, how many make one redundant, and how it samples by attention; here
the most attended come first, the redundant ones behind all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import directions, in_steps, keep_rows, ranked
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.tiles import best_of_each, split, tile_of_cells
from streamvlm.types import KeptTokens, VisualTokens

_MANY = 0.1
"""Of a tile's other tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCorr:
    """Keep a fixed share of each clip, more of its tiles that do not repeat themselves."""

    about: ClassVar[About] = About(
        title="Token-level Correlation-guided Compression for Efficient Multimodal Document"
        " Understanding",
        year=2024,
        arxiv="2407.14439",
        kind="prune",
        cost="O(N^2 D) at most, a quarter of it with four tiles",
        substitution="Tiles of the grid stand for cropped sub-images, features for the tower's"
        " keys, and the attention a token receives for that of a class token: all are what one"
        " place is to others of the same picture.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    similarity: Annotated[float, Ge(-1), Le(1)] = 0.8
    """Cosine above which two tokens repeat each other."""
    per_side: Annotated[int, Ge(1)] = 2
    """Tiles in a row, and in a column, of a picture."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        attention = received_attention(tokens)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        tile = tile_of_cells(tokens.cells, tokens.grid_thw, self.per_side)
        num_tiles = tokens.grid_thw[0] * self.per_side**2
        is_dense = ~self._is_redundant(directions(tokens.features), tile, num_tiles)
        dense = torch.bincount(tile[is_dense], minlength=num_tiles)
        weights, sizes = read(dense, torch.bincount(tile, minlength=num_tiles))
        counts = split(count, weights, [int(size) for size in sizes])
        return keep_rows(tokens, best_of_each(ranked(is_dense, attention), tile, counts))

    def _is_redundant(self, rows: Tensor, tile: Tensor, num_tiles: int) -> Tensor:
        """bool [N] of directions [N,D]: those that many others of their tile look like."""
        is_redundant = torch.zeros_like(tile, dtype=torch.bool)
        for number in range(num_tiles):
            members = (tile == number).nonzero().flatten()
            cosine = rows[members] @ rows[members].T
            is_alike = (in_steps(cosine - self.similarity) > 0).fill_diagonal_(False)
            many = is_alike.sum(dim=1) > _MANY * (len(members) - 1)
            is_redundant = is_redundant.index_copy(0, members, many)
        return is_redundant
