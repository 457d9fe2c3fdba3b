"""Merge three by three cells where they are most alike.

After the first stage of "Multi-Stage Vision Token Dropping: Towards Efficient Multimodal Large
Language Model" (MustDrop, 2024, arXiv 2411.10803). There a window becomes its mean where the mean
cosine of its pairs is above a threshold, behind the first layer of the tower; here behind the last
one, and the threshold is what the share leaves: the most alike windows, of the last one no more
cells than must. Where all windows are one token and that is too many, windows of these follow. What
drops tokens by the question, while answering, is not for ingest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.matching import follow
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows, merge_rows
from streamvlm.types import KeptTokens, VisualTokens

_SIDE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MustDrop:
    """Merge each clip down to a fixed share of its tokens."""

    about: ClassVar[About] = About(
        title="Multi-Stage Vision Token Dropping: Towards Efficient Multimodal Large Language"
        " Model",
        year=2024,
        arxiv="2411.10803",
        kind="merge",
        cost="O(ND)",
        licence="Apache-2.0 by its readme",
        substitution="The first stage only: the later ones drop by the attention of the question.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        return merge_rows(tokens, _owners(tokens.features, tokens.grid_thw, count))


def _owners(features: Tensor, grid_thw: tuple[int, int, int], count: int) -> Tensor:
    """int64 [N]: which of `count` > 0 rows each row of features [N,D] joins."""
    rows = owner = torch.arange(len(features), device=features.device)
    sums = features.to(torch.promote_types(features.dtype, torch.float32))
    grid = grid_thw
    while len(rows) > count:
        window, grid = _windows(grid, rows.device)
        # The direction of a sum is that of the mean.
        gone, into = _most_alike(directions(sums[rows]), window, prod(grid), len(rows) - count)
        sums = sums.index_add(0, rows[into], sums[rows[gone]])
        owner = follow(owner, rows[gone], rows[into])
        rows = rows[owner[rows] == rows]
    return owner


def _windows(
    grid_thw: tuple[int, int, int], device: torch.device
) -> tuple[Tensor, tuple[int, int, int]]:
    """int64 [N], the window of each cell, and the grid of windows: of three by three cells, at the
    far borders of fewer; where a picture is one cell, of three pictures.
    """
    sides = (1, _SIDE, _SIDE) if grid_thw[1] * grid_thw[2] > 1 else (_SIDE, 1, 1)
    along = [
        torch.arange(size, device=device) // side
        for size, side in zip(grid_thw, sides, strict=True)
    ]
    t, h, w = (-(-size // side) for size, side in zip(grid_thw, sides, strict=True))
    window = (along[0][:, None, None] * h + along[1][:, None]) * w + along[2]
    return window.flatten(), (t, h, w)


def _most_alike(
    unit: Tensor, window: Tensor, num_windows: int, at_most: int
) -> tuple[Tensor, Tensor]:
    """Which of directions [n,D] leave and which they join, int64 [m] and [m], m <= `at_most`: the
    cells of a window join its middle one.
    """
    size = torch.bincount(window, minlength=num_windows)
    sums = unit.new_zeros(num_windows, unit.shape[1]).index_add(0, window, unit)
    own = unit.new_zeros(num_windows).index_add(0, window, unit.square().sum(dim=1))
    # The mean over all pairs, without the pairs.
    alike = (sums.square().sum(dim=1) - own) / (size * (size - 1)).clamp_min(1)
    order = by_strength(in_steps(alike))
    rank = torch.empty_like(order).index_copy(
        0, order, torch.arange(num_windows, device=order.device)
    )
    cells = rank[window].sort(stable=True).indices
    start = size[order].cumsum(0) - size[order]
    middle = cells[start + size[order] // 2][rank[window]]
    gone = cells[middle[cells] != cells][:at_most]
    return gone, middle[gone]
