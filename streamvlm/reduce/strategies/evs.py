"""Keep what changed most since the clip before, at a fixed share of the stream.

After "Efficient Video Sampling: Pruning Temporally Redundant Tokens for Faster VLM Inference"
(2025, arXiv 2510.14624), which sorts the changes of a whole video. A stream has no end: here a
threshold follows the changes, so that the share is kept over time; a busy minute then starves no
quiet hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Le
from torch import Tensor

from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal
from streamvlm.reduce.ops import cosine_distance, evenly_spaced, keep_rows, strongest_rows
from streamvlm.types import KeptTokens, VisualTokens

_LOWEST, _HIGHEST = 1e-6, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EVS:
    """Keep the cells that changed more than a threshold that moves."""

    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    """Of the stream, not of each clip."""
    gain: Annotated[float, Gt(0), Le(1)] = 0.1
    """How fast the threshold follows: in nats a clip that keeps twice its share, or nothing."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep what changed; all while there is nothing of this grid to compare with."""
        distance = _distance(tokens, context)
        if distance is None or self.keep_ratio == 1:
            most = len(tokens) if context.max_kept is None else context.max_kept
            return keep_rows(tokens, evenly_spaced(len(tokens), min(len(tokens), most)))
        keep = distance > self._threshold(distance, context)
        return keep_rows(
            tokens, strongest_rows(keep, distance, at_least=0, at_most=context.max_kept)
        )

    def carry(
        self, tokens: VisualTokens, context: ReductionContext, kept: KeptTokens
    ) -> Tensor | None:
        """The threshold, float []; None until two clips could be compared."""
        distance = _distance(tokens, context)
        if distance is None:
            return context.carried  # type: ignore[no-any-return]
        threshold = self._threshold(distance, context)
        share = (distance > threshold).float().mean()
        moved = threshold * torch.exp(self.gain * (share / self.keep_ratio - 1))
        return moved.clamp(_LOWEST, _HIGHEST)

    def _threshold(self, distance: Tensor, context: ReductionContext) -> Tensor:
        """The one that was carried here; where none was, the share of this clip decides."""
        if context.carried is not None:
            return torch.as_tensor(context.carried)
        rank = math.ceil(len(distance) * (1 - self.keep_ratio))
        return distance.kthvalue(max(1, rank)).values.clamp(_LOWEST, _HIGHEST)


def _distance(tokens: VisualTokens, context: ReductionContext) -> Tensor | None:
    """float [N], how much each cell changed; None where there is nothing to compare."""
    previous = context.previous
    if previous is None or previous.grid_thw != tokens.grid_thw or not len(tokens):
        return None
    return cosine_distance(tokens.features, previous.features)
