"""Merge rows that are alike, little attended to and small: multi-criteria token fusion.

After "Multi-criteria Token Fusion with One-step-ahead Attention for Efficient Vision Transformers"
(MCTF, 2024, arXiv 2403.10030). Half of the rows that leave go from the even ones to the odd ones,
half the other way round, and a mean is by attention times size. There a tower that was tuned for it
merges some in each layer; here the clip is merged in rounds, behind the tower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.matching import best_pairs, follow
from streamvlm.reduce.ops import directions, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.weighted import merge_weighted
from streamvlm.types import KeptTokens, VisualTokens

_NO_ATTENTION = 1e-12
"""Of all attention, what a row has at least: one without any would leave no other a chance."""

_Temperature = Annotated[float, Gt(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MCTF:
    """Merge each clip down to a fixed share of its tokens."""

    about: ClassVar[About] = About(
        title="Multi-criteria Token Fusion with One-step-ahead Attention for Efficient Vision"
        " Transformers",
        year=2024,
        arxiv="2403.10030",
        kind="merge",
        cost="O(N^2 D)",
        substitution="The attention after a merge is told one step ahead: that to merged tokens is"
        " added up, as there. There are no rows of a map here that could be averaged too.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    similarity_temperature: _Temperature = 1.0
    attention_temperature: _Temperature = 20.0
    size_temperature: _Temperature = 40.0
    """The higher, the less a criterion says."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        attention = received_attention(tokens)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        fusion = _Fusion(tokens.features, attention)
        while len(fusion.rows) > count:
            fusion.join(self._score, at_most=len(fusion.rows) - count)
        return merge_weighted(tokens, fusion.owner, fusion.share)

    def _score(self, rows: Tensor, attention: Tensor, size: Tensor) -> Tensor:
        """[even,odd], how well rows [n,D] match, of this attention and size, [n] each."""
        unit = directions(rows)
        similarity = ((unit[0::2] @ unit[1::2].T + 1) / 2).clamp_min(0)
        score = similarity ** (1 / self.similarity_temperature)
        for value, temperature in (
            (attention, self.attention_temperature),
            (size, self.size_temperature),
        ):
            little = value.amin() / value
            score = score * (little[0::2, None] * little[None, 1::2]) ** (1 / temperature)
        return score


class _Fusion:
    """Rows that have joined others: all float [N], of which those that left are not looked at."""

    def __init__(self, features: Tensor, attention: Tensor) -> None:
        self._features = features.to(torch.promote_types(features.dtype, torch.float32))
        floor = _NO_ATTENTION * attention.sum() + torch.finfo(attention.dtype).tiny
        self._attention = attention.to(self._features.dtype).clamp_min(floor)
        self._size = torch.ones_like(self._attention)
        self.share = torch.ones_like(self._attention)
        """Of each row in the mean that it belongs to."""
        self.rows = self.owner = torch.arange(len(features), device=features.device)

    def join(self, score: Callable[[Tensor, Tensor, Tensor], Tensor], *, at_most: int) -> None:
        """One round: at most half of the rows leave."""
        rows, even, odd = self.rows, self.rows[0::2], self.rows[1::2]
        means = torch.zeros_like(self._features)
        means = means.index_add(0, self.owner, self._features * self.share[:, None])
        matrix = score(means[rows], self._attention[rows], self._size[rows])
        num_leaving = min(at_most, len(odd))
        most, nearest = best_pairs(matrix, num_leaving // 2)
        owner = follow(self.owner, even[most], odd[nearest])
        stays = torch.ones_like(even, dtype=torch.bool).index_fill(0, most, False)
        most, nearest = best_pairs(matrix[stays].T, num_leaving - num_leaving // 2)
        self._take(follow(owner, odd[most], even[stays][nearest]))

    def _take(self, owner: Tensor) -> None:
        """Who stands for whom now; a mean is by attention times size as they were before."""
        weight = self._attention * self._size
        into = owner[self.rows]
        total = torch.zeros_like(weight).index_add(0, into, weight[self.rows])
        self.share = self.share * weight[self.owner] / total[owner]
        joined = torch.zeros_like(weight)
        self._attention = joined.index_add(0, into, self._attention[self.rows])
        self._size = joined.index_add(0, into, self._size[self.rows])
        self.owner, self.rows = owner, self.rows[owner[self.rows] == self.rows]
