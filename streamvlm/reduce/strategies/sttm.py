"""Merge squares that are alike all over, and what stays alike from one picture to the next.

After "Multi-Granular Spatio-Temporal Token Merging for Training-Free Acceleration of Video LLMs"
(STTM, 2025, arXiv 2507.07990), which works on the hidden states of an early layer of the language
model, over a whole video. A picture is a tree of squares: one is split unless each of its quarters
is like it. Then squares join those of the picture before that they contain or are contained in,
where they are like them, and stand where the first of them stood. Here the finest tree is taken
that keeps to the share; and squares that join some of an earlier clip are left to that clip, which
is not changed any more. Odd sides are ragged at the far border instead of the near one. The
released labels stop early; here all that are connected become one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.clustering import components
from streamvlm.reduce.holistic import standing_rows
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import cosine_distance, evenly_spaced, keep_rows
from streamvlm.reduce.quadtree import Squares, quadtree, squares_of
from streamvlm.reduce.weighted import merge_weighted
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class STTM:
    """Keep at most a fixed share of each clip, less where it goes on as the one before."""

    about: ClassVar[About] = About(
        title="Multi-Granular Spatio-Temporal Token Merging for Training-Free Acceleration of Video"
        " LLMs",
        year=2025,
        arxiv="2507.07990",
        kind="merge",
        cost="O(N D log N)",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    similarity: Annotated[float, Gt(0), Le(1)] = 0.65
    """Cosine at which a square joins one of the picture before. The paper has 0.5 to 0.65."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep at most `num_kept` tokens."""
        return self.advance(tokens, context)[0]

    def advance(
        self, tokens: VisualTokens, context: ReductionContext
    ) -> tuple[KeptTokens, Squares | None]:
        """With the squares of the last picture, for the next clip to join; None where some are not
        kept.
        """
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count or self.keep_ratio == 1:
            return keep_rows(tokens, evenly_spaced(len(tokens), count)), None
        levels, whole_up_to = quadtree(tokens)
        before: Squares | None = context.carried
        if before is not None and before.grid_thw[1:] != tokens.grid_thw[1:]:
            before = None

        def cut(threshold: Tensor) -> tuple[Squares, Tensor]:
            level = (whole_up_to >= threshold).sum(dim=0)
            squares = squares_of(tokens, levels.gather(0, level[None])[0])
            return squares, self._owners(squares, before)

        squares, owner = _finest(cut, whole_up_to, count)
        rows = standing_rows(owner).nonzero().flatten()
        is_all = len(rows) <= count
        if not is_all:  # fewer than pictures
            owner = owner.masked_fill(owner >= rows[count], -1)
        kept = merge_weighted(tokens, owner, 1 / squares.size)
        return kept, _last_picture(squares) if is_all else None

    def _owners(self, squares: Squares, before: Squares | None) -> Tensor:
        """int64 [N]: the first cell of what each cell joins; -1 where that is of an earlier clip.

        Squares of the same tree that share a cell contain each other: what one cell shows after the
        other tells all pairs.
        """
        num_cells = squares.grid_thw[1] * squares.grid_thw[2]
        # What is like nothing stands before the first clip.
        first = torch.arange(num_cells, device=squares.first.device)
        means = torch.zeros_like(squares.means[:num_cells])
        if before is not None:
            first, means = before.first, before.means
        first = torch.cat([first, squares.first + num_cells])
        means = torch.cat([means, squares.means])
        is_alike = cosine_distance(means[:-num_cells], means[num_cells:]) <= 1 - self.similarity
        label = components(first[:-num_cells][is_alike], first[num_cells:][is_alike], len(first))
        return (label[first[num_cells:]] - num_cells).clamp_min(-1)


def _finest(
    cut: Callable[[Tensor], tuple[Squares, Tensor]], whole_up_to: Tensor, count: int
) -> tuple[Squares, Tensor]:
    """Of the thresholds that make a difference the highest at which no more than `count` stand, by
    halving; the lowest where there is none.
    """
    infinite = torch.full((1,), torch.inf, device=whole_up_to.device)
    thresholds = torch.cat([whole_up_to.unique(), infinite.to(whole_up_to)])
    low, high = 0, len(thresholds)
    while high - low > 1:
        middle = (low + high) // 2
        ((num_standing,),) = read(standing_rows(cut(thresholds[middle])[1]).sum())
        low, high = (middle, high) if num_standing <= count else (low, middle)
    return cut(thresholds[low])


def _last_picture(squares: Squares) -> Squares:
    """The last one of a clip, as a clip."""
    num_pictures, num_rows, num_columns = squares.grid_thw
    num_cells = num_rows * num_columns
    return Squares(
        first=squares.first[-num_cells:] - (num_pictures - 1) * num_cells,
        size=squares.size[-num_cells:].clone(),
        means=squares.means[-num_cells:].clone(),
        grid_thw=(1, num_rows, num_columns),
    )
