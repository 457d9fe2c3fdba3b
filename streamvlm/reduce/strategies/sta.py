"""Keep what the past does not explain and what is strong: similarity handed on from clip to clip.

After "Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation" (STA, 2023, arXiv
2308.04549). It prunes inside a video transformer at three depths, forwards, backwards and forwards
again; backwards needs the future, so here it is forwards only, and once. A stream has no last clip:
the score goes on until a gap. The first clip, which nothing explains, is halved by the same
bipartite rule as there, as often as its budget asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows, scaled
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Past:
    """What was kept of the clip before; of the first one, all."""

    directions: Tensor
    """float [M,D]."""
    redundancy: Tensor
    """float [M], how much each was explained by what came before it; 1 in the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class STA:
    """Keep a fixed share of each clip, the lowest scores of redundancy x weakness."""

    about: ClassVar[About] = About(
        title="Prune Spatio-temporal Tokens by Semantic-aware Temporal Accumulation",
        year=2023,
        arxiv="2308.04549",
        kind="prune",
        cost="O(N k D)",
        substitution="Features stand for the keys of the block: both say what a token looks like to"
        " the others. The backward pass is left out, as nobody knows the future of a stream.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        return self.advance(tokens, context)[0]

    def advance(
        self, tokens: VisualTokens, context: ReductionContext
    ) -> tuple[KeptTokens, _Past | None]:
        """With what explains the next clip; where nothing is kept, what explained this one."""
        past: _Past | None = context.carried
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64)), past
        here = directions(tokens.features)
        if past is None:
            everything = _Past(directions=here, redundancy=torch.ones_like(here[:, 0]))
            return keep_rows(tokens, _least_alike(here, count)), everything
        # Each token of the past hands its redundancy to those of now that look like it.
        shares = (here @ past.directions.T).softmax(dim=0)  # [N, M]
        redundancy = shares @ past.redundancy
        strength = scaled(tokens.features.to(here.dtype).abs().sum(dim=1))
        rows = by_strength(in_steps(-redundancy * (1 - strength)))[:count]
        kept = redundancy[rows]
        # There it is divided by its sum: the same ranks, but numbers that shrink as tokens grow.
        known = _Past(directions=here[rows], redundancy=kept / kept.mean())
        return keep_rows(tokens, rows), known


def _least_alike(directions: Tensor, count: int) -> Tensor:
    """int64 [count] of directions [N,D]: of every second row those leave that are most like one of
    the others; again until so many are left.
    """
    rows = torch.arange(len(directions), device=directions.device)
    while len(rows) > count:
        leaving, staying = rows[0::2], rows[1::2]
        alike = (directions[leaving] @ directions[staying].T).amax(dim=1)
        num_left = max(0, count - len(staying))
        left = leaving[by_strength(in_steps(-alike))[:num_left]]
        rows = torch.cat([staying, left]).sort().values
    return rows
