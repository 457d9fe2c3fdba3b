"""How well blocks fit a probe: one pure function a rule, each over all blocks at once.

A probe is float32 [R], R = G * E: the question's mean raw query, once for each key/value head. All
vectors are raw keys, so no rule knows positions. Higher is better.

Products are summed row by row, not by a matrix product: that one adds in another order in another
row, so that a block's score would depend on where it stands (seen in 444 of 556 products).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_SLICE_ROWS = 512
"""Blocks whose products are held at a time, always in the same place: to ask the system for new
room each time took up to seven times as long, by what the process had freed before.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """The summaries of B blocks."""

    means: Tensor
    """float32 [B,G,E]."""
    lows: Tensor
    """float32 [B,G,E]."""
    highs: Tensor
    """float32 [B,G,E]."""
    keys: Tensor
    """float32 [B,Q,G,E], those of the representative tokens; blocks with fewer are filled up."""
    num_keys: Tensor
    """int64 [B], how many of the Q are there; >= 1."""

    def __len__(self) -> int:
        return len(self.means)

    def at(self, rows: Tensor | slice) -> Stack:
        """Those of some blocks: a copy, or a view for a slice."""
        return Stack(
            means=self.means[rows],
            lows=self.lows[rows],
            highs=self.highs[rows],
            keys=self.keys[rows],
            num_keys=self.num_keys[rows],
        )

    @property
    def is_key(self) -> Tensor:
        """bool [B,Q], False where a block has fewer."""
        return torch.arange(self.keys.shape[1]) < self.num_keys[:, None]


Rule = Callable[[Tensor, Stack], Tensor]
"""(probe float32 [R], stack of B) -> float32 [B]."""


def mean(probe: Tensor, stack: Stack) -> Tensor:
    """Probe times mean key (ReKV, arXiv 2503.00540)."""
    return _inner(stack.means.flatten(1), probe)


def cosine(probe: Tensor, stack: Stack) -> Tensor:
    """The cosine between probe and mean key; 0 where one of them is 0."""
    means = stack.means.flatten(1)
    lengths = _inner(means, means).sqrt() * _inner(probe[None], probe).sqrt()
    return _inner(means, probe) / lengths.clamp(min=torch.finfo(torch.float32).tiny)


def representatives(probe: Tensor, stack: Stack) -> Tensor:
    """The best of the representative tokens counts (InfLLM, arXiv 2402.04617)."""
    products = _inner(stack.keys.flatten(2), probe)  # [B,Q]
    return products.masked_fill(~stack.is_key, float("-inf")).amax(dim=1)


def vote(probe: Tensor, stack: Stack) -> Tensor:
    """Each head shares one vote among the representative tokens of all blocks, as attention would;
    a block has those of its tokens (TokenSelect, arXiv 2411.02886).
    """
    heads, head_size = stack.means.shape[1:]
    logits = _inner(stack.keys, probe.view(heads, head_size)) / math.sqrt(head_size)  # [B,Q,G]
    logits = logits.masked_fill(~stack.is_key[:, :, None], float("-inf"))
    return logits.flatten(0, 1).softmax(dim=0).view_as(logits).sum(dim=(1, 2))


def bound(probe: Tensor, stack: Stack) -> Tensor:
    """What no token of the block can exceed, from the smallest and largest of each number (Quest,
    arXiv 2406.10774).
    """
    lows, highs = stack.lows.flatten(1), stack.highs.flatten(1)
    bounds = lows.new_empty(len(lows))
    low, high = torch.empty_like(lows[:_SLICE_ROWS]), torch.empty_like(lows[:_SLICE_ROWS])
    for rows in _slices(len(lows)):
        count = len(lows[rows])
        torch.mul(lows[rows], probe, out=low[:count])
        torch.mul(highs[rows], probe, out=high[:count])
        torch.maximum(low[:count], high[:count], out=high[:count])
        torch.sum(high[:count], dim=-1, out=bounds[rows])
    return bounds


RULES: dict[str, Rule] = {
    "mean": mean,
    "cosine": cosine,
    "representatives": representatives,
    "vote": vote,
    "bound": bound,
}
"""Every rule by its name in the config."""


def _inner(vectors: Tensor, others: Tensor) -> Tensor:
    """Inner products over the last dimension; `others` one for all, or one a row."""
    others, sums = others.expand_as(vectors), vectors.new_empty(vectors.shape[:-1])
    products = torch.empty_like(vectors[:_SLICE_ROWS])
    for rows in _slices(len(vectors)):
        some = products[: len(vectors[rows])]
        torch.mul(vectors[rows], others[rows], out=some)
        torch.sum(some, dim=-1, out=sums[rows])
    return sums


def _slices(num_rows: int) -> Iterator[slice]:
    return (slice(first, first + _SLICE_ROWS) for first in range(0, num_rows, _SLICE_ROWS))
