"""Tokens that are relevant and say different things: a determinantal point process given the
question.

After "Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning in MLLMs"
(CDPruner, 2025, arXiv 2506.10967): the kernel is r_i cos(x_i, x_j) r_j with the relevance r brought
to [0, 1], the choice greedy. Tokens that say nothing new, of which a still scene is full, make the
published update divide by nothing; here the most relevant of them follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from streamvlm.about import About
from streamvlm.remember.choosing.base import (
    Chosen,
    FoundTokens,
    followed_by,
    scaled,
    strongest_first,
)

_NOTHING_NEW = 1e-6
_STEP = 1e-9
"""What differs by less is as new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CDPruner:
    """Greedily the tokens that span the most volume, each direction as long as it is relevant."""

    about: ClassVar[About] = About(
        title="Beyond Attention or Similarity: Maximizing Conditional Diversity for Token Pruning "
        "in MLLMs",
        year=2025,
        arxiv="2506.10967",
        kind="prune",
        cost="O(k N (R + k))",
        licence="Apache-2.0",
        substitution="Relevance is the fit of a key to the probe in place of the cosine of CLIP's "
        "picture and text, and taken as it is: the released code turns CLIP's around. No more "
        "tokens than a key has numbers can say something new.",
    )

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """In the order of choice, until the next one would be one too many."""
        relevance = scaled(found.fits.double())
        new = _most_volume(found, relevance, max_tokens)
        order = followed_by(new, strongest_first(relevance))
        return Chosen(rows=found.affordable(order, max_tokens))


def _most_volume(found: FoundTokens, relevance: Tensor, max_tokens: int) -> Tensor:
    """int64 of distinct rows: always the one that adds most to the volume of those before, by
    Cholesky updates, until no other is new, or the last one is one too many.
    """
    directions = found.directions.double()
    is_left = torch.ones(len(found), dtype=torch.bool)
    new = relevance.square() * directions.square().sum(dim=1)
    factors = relevance.new_zeros(min(len(found), max_tokens), len(found))
    chosen = torch.empty(0, dtype=torch.int64)
    for known in range(len(factors)):
        steps = (new / _STEP).round().masked_fill(~is_left, -1)
        row = int((steps == steps.amax()).byte().argmax())
        if new[row] <= _NOTHING_NEW or len(found.affordable(chosen, max_tokens)) < known:
            break
        alike = directions @ directions[row] * relevance * relevance[row]
        part = (alike - factors[:known, row] @ factors[:known]) / new[row].sqrt()
        factors[known] = part
        new = new - part.square()
        is_left[row] = False
        chosen = torch.cat([chosen, torch.tensor([row])])
    return chosen
