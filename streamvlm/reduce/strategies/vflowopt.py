"""Keep what is attended to and rich in itself; what is left out comes back as one token a block.

After "VFlowOpt: A Token Pruning Framework for LMMs with Visual Information Flow-Guided
Optimization" (2025, arXiv 2508.05211), the step behind its vision tower. Importance is the share of
attention that a token receives, plus a weight times the softmax of its entropy. What is pruned is
recycled: of each block of cells it becomes one token, a mean weighted by importance, where the most
important of it stood. The steps inside the language model need its attention, and the search for
the settings needs its answers; both are left out.

The authors prune a few tokens more than asked for, by the number of blocks, and may then return
less or more than these; here as many stay by themselves as leave room for the blocks to the number.
Where there is no room for a token of each block nothing is recycled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import by_strength, directions, group_means, keep_rows, merge_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens

_NOTHING = 1e-12
_STEPS = 2.0**20
"""Importance is compared in these: it is a share, so that its differences are small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VFlowOpt:
    """Keep a fixed share of each clip, some of it recycled tokens."""

    about: ClassVar[About] = About(
        title=(
            "VFlowOpt: A Token Pruning Framework for LMMs with Visual Information Flow-Guided "
            "Optimization"
        ),
        year=2025,
        arxiv="2508.05211",
        kind="merge",
        cost="O(ND)",
        licence="CC BY-NC 4.0",
        substitution="The attention received of all tokens in place of that of the few most "
        "attended ones: their threshold at zero. The entropy of how a token's energy is spread "
        "over its channels in place of that of its patch's grey values, as no pixels get here: "
        "both tell how much a token holds by itself. One step in place of several.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    entropy_weight: Annotated[float, Gt(0)] = 0.5
    """Of entropy, beside 1 of attention. The authors search for it: this is ours."""
    block: Annotated[int, Ge(1)] = 8
    """Cells along each side of the square whose pruned tokens become one."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        importance = self.importance(tokens)
        order = by_strength((importance * _STEPS).round())
        block = _blocks(tokens, self.block)
        alone = _num_alone(order, block, count)
        if alone is None:
            return keep_rows(tokens, order[:count])
        return _recycled(tokens, importance, _owners(order, block, alone))

    def importance(self, tokens: VisualTokens) -> Tensor:
        """float [N]: the higher, the rather kept; the same in any order of adding."""
        attention = received_attention(tokens).double()
        share = attention / attention.sum().clamp_min(_NOTHING)
        energy = directions(tokens.features).double().square()
        entropy = torch.special.entr(energy).sum(dim=1) / log(2)
        importance: Tensor = share + self.entropy_weight * entropy.softmax(dim=0)
        return importance


def _blocks(tokens: VisualTokens, side: int) -> Tensor:
    """int64 [N]: the block of each cell, counted in any way; each picture has its own."""
    _, rows, columns = tokens.grid_thw
    time, row, column = tokens.cells.unbind(dim=1)
    return (time * -(-rows // side) + row // side) * -(-columns // side) + column // side


def _num_alone(order: Tensor, block: Tensor, count: int) -> int | None:
    """How many of the rows stay by themselves, those in front of `order`, int64 [N], so that
    together with a token of each block in which rows are left there are `count`; None where there
    are more blocks than that.
    """
    if not count:
        return None
    place = torch.arange(len(order), device=order.device)
    # A block is used up behind the last of its rows.
    last = torch.full_like(place, -1).scatter_reduce(0, block[order], place, "amax")
    ends = torch.zeros_like(place).index_add(0, last.clamp_min(0), (last >= 0).long())
    # One row more by itself is one token more, or ends a block and is none.
    num_tokens = (1 - ends).cumsum(dim=0) + ends.sum()
    ((num_blocks, num_below),) = read(torch.stack([ends.sum(), (num_tokens <= count).sum()]))
    return int(num_below) if num_blocks <= count else None


def _owners(order: Tensor, block: Tensor, alone: int) -> Tensor:
    """int64 [N]: the first ones of `order` own themselves, the others join the best of them in
    their block.
    """
    pruned = order[alone:]
    place = torch.arange(len(pruned), device=order.device)
    best = torch.full_like(order, len(order)).scatter_reduce(0, block[pruned], place, "amin")
    return order.new_empty(len(order)).index_copy(
        0, order, torch.cat([order[:alone], pruned[best[block[pruned]]]])
    )


def _recycled(tokens: VisualTokens, importance: Tensor, owner: Tensor) -> KeptTokens:
    """The rows merged into their owners, by importance instead of evenly."""
    kept = merge_rows(tokens, owner)
    group = torch.searchsorted(kept.indices, owner)
    total = torch.zeros(len(kept), dtype=torch.float64, device=owner.device)
    part = importance / total.index_add(0, group, importance)[group].clamp_min(_NOTHING)

    def mixed(rows: Tensor, means: Tensor) -> Tensor:
        weighed = group_means(rows * part[:, None], group, torch.ones_like(total)).to(rows)
        return torch.where(kept.weight[:, None] > 1, weighed, means)

    maps = tokens.deepstack
    deepstack = kept.deepstack
    if maps is not None and deepstack is not None:
        deepstack = torch.stack([mixed(*pair) for pair in zip(maps, deepstack, strict=True)])
    return replace(kept, features=mixed(tokens.features, kept.features), deepstack=deepstack)
