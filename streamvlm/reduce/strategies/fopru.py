"""Keep whole rows of the picture, or single tokens, by how much they are attended.

After "FoPru: Focal Pruning for Efficient Large Vision-Language Models" (2024, arXiv 2411.14164). By
row: the rows of cells with the most attention stay whole, which keeps a line of text together. By
rank: the most attended tokens stay, wherever they are. The paper also has the attention that a
token gives, and takes whichever varies more; what a token gives sums to 1, so that is what it
receives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, in_steps, keep_rows, scaled
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class FoPru:
    """Keep a fixed share of each clip, by the most attended rows of cells or tokens."""

    about: ClassVar[About] = About(
        title="FoPru: Focal Pruning for Efficient Large Vision-Language Models",
        year=2024,
        arxiv="2411.14164",
        kind="prune",
        cost="O(N log N)",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    unit: Literal["row", "token"] = "row"
    """What is ranked. Where the last row of cells would be too much, its most attended ones stay;
    by token it is what `fastervlm` keeps."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        attention = received_attention(tokens)
        rows = by_strength(attention)
        if self.unit == "row":
            rows = rows[by_strength(-_place(attention, tokens.grid_thw)[rows])]
        return keep_rows(tokens, rows[:count])


def _place(attention: Tensor, grid_thw: tuple[int, int, int]) -> Tensor:
    """int64 [N]: 0 for the cells of the most attended row, 1 for those of the next, and so on."""
    num_times, height, width = grid_thw
    sums = attention.view(num_times * height, width).sum(dim=1)
    order = by_strength(in_steps(scaled(sums)))
    return order.argsort().repeat_interleave(width)
