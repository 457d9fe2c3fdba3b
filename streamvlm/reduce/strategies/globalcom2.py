"""The look at the whole picture decides how much each part of it keeps, and takes part in which.

After "Compression with Global Guidance: Towards Training-free High-Resolution MLLMs Acceleration"
(GlobalCom2, 2025, arXiv 2501.05179). It encodes a picture twice, as a thumbnail and in crops; here
there is one encoding, whose tiles are the crops and whose mean-pooled map is the thumbnail. The
thumbnail's own tokens are not there to be kept. What a full tile cannot take goes to the others;
there it is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import by_strength, in_steps, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.tiles import best_of_each, split, tile_of_cells
from streamvlm.types import KeptTokens, VisualTokens

_TEMPERATURE = 10.0
_NO_ATTENTION = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalCom2:
    """Keep a fixed share of each clip, more of its tiles that the thumbnail looks at."""

    about: ClassVar[About] = About(
        title="Compression with Global Guidance: Towards Training-free High-Resolution MLLMs"
        " Acceleration",
        year=2025,
        arxiv="2501.05179",
        kind="prune",
        cost="O(N log N)",
        licence="Apache-2.0",
        substitution="The logarithm of the attention that a token receives stands for the logits"
        " of a class token: a softmax leaves logits known up to a constant, here their mean is 0.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    per_side: Annotated[int, Ge(1)] = 2
    """Tiles in a row, and in a column, of a picture."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        logits = _logits(received_attention(tokens))
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        tile = tile_of_cells(tokens.cells, tokens.grid_thw, self.per_side)
        num_tiles = tokens.grid_thw[0] * self.per_side**2
        weights, sizes = read(*self._weights(logits, tile, num_tiles))
        counts = split(count, weights, [int(size) for size in sizes])
        score = _unit(logits, tile, num_tiles)
        score = score + _unit(self._seen_from_afar(logits, tokens.grid_thw), tile, num_tiles)
        return keep_rows(tokens, best_of_each(by_strength(in_steps(score)), tile, counts))

    def _weights(self, logits: Tensor, tile: Tensor, num_tiles: int) -> tuple[Tensor, Tensor]:
        """Of each tile: what it may keep, in units of the share of all, and its size."""
        sizes = torch.bincount(tile, minlength=num_tiles)
        # A cell of the thumbnail is the mean of so many, and its logits are summed up.
        sums = logits.new_zeros(num_tiles).index_add(0, tile, logits) / self.per_side**2
        liked = (sums / _TEMPERATURE).masked_fill(sizes == 0, -torch.inf).softmax(dim=0)
        return sizes * (1 + liked - 1 / (sizes > 0).sum()), sizes

    def _seen_from_afar(self, logits: Tensor, grid_thw: tuple[int, int, int]) -> Tensor:
        """float [N]: the thumbnail's logits, brought back to the size of the grid."""
        num_pictures, height, width = grid_thw
        picture = logits.view(num_pictures, 1, height, width)
        small = (ceil(height / self.per_side), ceil(width / self.per_side))
        thumbnail = adaptive_avg_pool2d(picture, small)
        large = interpolate(thumbnail, (height, width), mode="bilinear", align_corners=False)
        return large.flatten()


def _logits(attention: Tensor) -> Tensor:
    wide = attention.to(torch.promote_types(attention.dtype, torch.float32))
    logits = wide.clamp_min(_NO_ATTENTION).log()
    return logits - logits.mean()


def _unit(values: Tensor, tile: Tensor, num_tiles: int) -> Tensor:
    """float [N], each tile scaled to length 1; 0 where all are."""
    square = values.new_zeros(num_tiles).index_add(0, tile, values.square())
    return values / square.sqrt().clamp_min(_NO_ATTENTION)[tile]
