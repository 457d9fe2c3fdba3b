"""Keep the peaks of attention with the cells around them, and what else is attended most.

After "HiPrune: Training-Free Visual Token Pruning via Hierarchical Attention in Vision-Language
Models" (2025, arXiv 2508.00553). Its anchors are the most attended tokens of a middle layer, in
which objects stand out; buffers are the four neighbours of each; registers are the most attended of
all others in the last layer. There what is beside the border of the picture is an end of the next
row or the one before, and below 26 tokens there is no anchor; here it is nothing, and five tokens
are enough for an anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens

_CROSS = 5
"""An anchor and its buffers."""
_BUFFER, _ANCHOR = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HiPrune:
    """Keep a fixed share of each clip: anchors, then their buffers, then registers."""

    about: ClassVar[About] = About(
        title="HiPrune: Training-Free Visual Token Pruning via Hierarchical Attention in "
        "Vision-Language Models",
        year=2025,
        arxiv="2508.00553",
        kind="prune",
        cost="O(N log N)",
        licence="MIT",
        substitution="Attention is known of one layer, the last that sees whole pictures: anchors "
        "are its peaks, not those of a middle layer. What stays of the method is that a peak "
        "brings its surroundings along, at the expense of the least attended registers.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    anchored_share: Annotated[float, Ge(0), Le(1)] = 0.1
    """Of what is kept, the share of anchors and buffers where no two of them are one cell."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        rows = by_strength(received_attention(tokens))
        kind = _kinds(rows[: self._num_anchors(count)], tokens)
        return keep_rows(tokens, rows[by_strength(kind[rows])][:count])

    def _num_anchors(self, count: int) -> int:
        """Of `count` tokens that are kept."""
        least = 1 if self.anchored_share and count >= _CROSS else 0
        return max(least, int(count * self.anchored_share / _CROSS + 0.5))


def _kinds(anchors: Tensor, tokens: VisualTokens) -> Tensor:
    """uint8 [N]: which rows are anchors, which ones buffers; 0 for all others."""
    is_anchor = torch.zeros(len(tokens), dtype=torch.bool, device=anchors.device)
    is_anchor = is_anchor.index_fill(0, anchors, True).view(tokens.grid_thw)
    is_near = is_anchor.clone()
    is_near[:, 1:] |= is_anchor[:, :-1]
    is_near[:, :-1] |= is_anchor[:, 1:]
    is_near[:, :, 1:] |= is_anchor[:, :, :-1]
    is_near[:, :, :-1] |= is_anchor[:, :, 1:]
    return torch.where(is_anchor, _ANCHOR, _BUFFER * is_near.byte()).byte().flatten()
