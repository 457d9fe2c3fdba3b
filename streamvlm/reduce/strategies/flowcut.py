"""Let tokens go a few at a time: the more the attention is on few of them, the more go at once.

After "FlowCut: Rethinking Redundancy via Information Flow for Efficient Vision-Language Models"
(2025, arXiv 2505.19536). It prunes between the layers of the vision tower, by what the class token
attends to, by what is like it, and by how much a token has to give; scores go on from layer to
layer. Here it works behind the tower, with as many rounds as the tower of CLIP has layers: what is
left is weighed anew in each, as whom a token competes with has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens

_EVERY = 2
_TINY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowCut:
    """Keep a fixed share of each clip, approached by a schedule that follows the attention."""

    about: ClassVar[About] = About(
        title="FlowCut: Rethinking Redundancy via Information Flow for Efficient Vision-Language"
        " Models",
        year=2025,
        arxiv="2505.19536",
        kind="prune",
        cost="O(layers N D)",
        licence="Apache-2.0",
        substitution="The attention of the last layer stands for that of each, among those left;"
        " the mean of those left for the class token, as both relay what all have in common; and"
        " features for values. Still several criteria, added up over rounds of pruning.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    layers: Annotated[int, Ge(1)] = 22
    """Rounds; in every second one tokens go."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        attention = received_attention(tokens)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        rows = torch.arange(len(tokens), device=attention.device)
        if not count:
            return keep_rows(tokens, rows[:0])
        wide = torch.promote_types(tokens.features.dtype, torch.float32)
        features, attention = tokens.features.to(wide), attention.to(wide)
        total = None
        for layers_left in reversed(range(self.layers)):
            if len(rows) == count:
                break
            score = _score(features[rows], attention[rows])
            total = score if total is None else (total + score) / 2
            if layers_left % _EVERY == 0:
                num_gone = _num_gone(attention[rows], len(rows) - count, layers_left)
                order = by_strength(in_steps(total / total.mean().clamp_min(_TINY)))
                stays = order[: len(rows) - num_gone].sort().values
                rows, total = rows[stays], total[stays]
        return keep_rows(tokens, rows)


def _score(features: Tensor, attention: Tensor) -> Tensor:
    """float [n] of features [n,D]: what is attended to, and what is like the mean, times how much
    there is of it.
    """
    relay = directions(features.mean(dim=0))
    semantic = (directions(features) @ relay).softmax(dim=0)
    return (_shares(attention) + semantic) * features.abs().sum(dim=1)


def _num_gone(attention: Tensor, too_many: int, layers_left: int) -> int:
    """How many of n > 1 tokens go now, of those that must go until the last layer; the fewer, the
    more evenly they are attended to.
    """
    if not layers_left:
        return too_many
    entropy = torch.special.entr(_shares(attention)).sum() / log(len(attention))
    ((now,),) = read((too_many / layers_left**0.5 * (1 - entropy.square())).round())
    return min(too_many, max(0, int(now)))


def _shares(attention: Tensor) -> Tensor:
    """float [n], of all attention; equal ones where there is none."""
    attention = attention + _TINY
    return attention / attention.sum()
