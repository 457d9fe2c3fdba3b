"""Give more to clips where the stream turns, and keep of each what is odd or strong.

After "V-CAST: Video Curvature-Aware Spatio-Temporal Pruning for Efficient Video Large Language
Models" (2026, arXiv 2603.27650), which shares a budget over a whole video by a softmax of how
sharply its path turns at each clip. Here the sum of the softmax is a moving mean over about
`horizon_clips`; at the edge of what is known a clip counts as a turn, as there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import (
    by_strength,
    cosine_distance,
    directions,
    in_steps,
    keep_rows,
    row_lengths,
    scaled,
)
from streamvlm.types import KeptTokens, VisualTokens

_TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """How sharp the turns of the stream were."""

    mean: float
    """Of e to the curvature over the temperature."""
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VCast:
    """Keep about a fixed share of the stream, more of a clip at a turn."""

    about: ClassVar[About] = About(
        title="V-CAST: Video Curvature-Aware Spatio-Temporal Pruning for Efficient Video Large "
        "Language Models",
        year=2026,
        arxiv="2603.27650",
        kind="prune",
        lag_clips=1,
        cost="O(ND)",
        substitution="The softmax over all clips of a video is one over those that were seen.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    """Of the stream; a clip at a turn may keep more."""
    horizon_clips: Annotated[int, Ge(1)] = 60
    """How far back the moving mean reaches."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep the highest scores."""
        return self.advance(tokens, context)[0]

    def advance(
        self, tokens: VisualTokens, context: ReductionContext
    ) -> tuple[KeptTokens, _Turns | None]:
        """With how sharp the turns were, this one included; None while nothing was shown."""
        before: _Turns | None = context.carried
        if not len(tokens):
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64)), before
        turn = exp(_curvature(tokens, context) / _TEMPERATURE)
        num_clips = 1 if before is None else min(before.num_clips + 1, self.horizon_clips)
        mean = turn if before is None else before.mean + (turn - before.mean) / num_clips
        ratio = self.keep_ratio if self.keep_ratio == 1 else min(1.0, self.keep_ratio * turn / mean)
        count = num_kept(len(tokens), ratio, context.max_kept)
        kept = keep_rows(tokens, by_strength(in_steps(_scores(tokens.features)))[:count])
        return kept, _Turns(mean=mean, num_clips=num_clips)


def _curvature(tokens: VisualTokens, context: ReductionContext) -> float:
    """In [0, 2]: how much the path of the stream turns at this clip; 1 where it begins or ends."""
    clips = (context.previous, tokens, context.following)
    path = [_mean_direction(clip.features) for clip in clips if clip is not None and len(clip)]
    if len(path) < len(clips):
        return 1.0
    ((turn,),) = read(cosine_distance(path[1] - path[0], path[2] - path[1]))
    return turn


def _mean_direction(features: Tensor) -> Tensor:
    """[1,D] in float32 at least: of the mean of float [N,D]."""
    wide = torch.promote_types(features.dtype, torch.float32)
    return directions(features.mean(dim=0, keepdim=True, dtype=wide))


def _scores(features: Tensor) -> Tensor:
    """float [N]: how odd in its clip a row of [N,D] is, and how long, each brought to [0, 1]."""
    odd = cosine_distance(features, _mean_direction(features))
    return scaled(odd) + scaled(row_lengths(features))
