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

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import cosine_distance, evenly_spaced, keep_rows, strongest_rows
from streamvlm.types import KeptTokens, VisualTokens

_LOWEST, _HIGHEST = 1e-6, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EVS:
    """Keep the cells that changed more than a threshold that moves."""

    about: ClassVar[About] = About(
        title=(
            "Efficient Video Sampling: Pruning Temporally Redundant Tokens for Faster VLM Inference"
        ),
        year=2025,
        arxiv="2510.14624",
        kind="prune",
        cost="O(ND)",
        licence="NVIDIA's own",
        substitution="A threshold that follows the changes in place of their order in the whole "
        "video: both keep the most changed share, and a stream has no end to sort at.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    """Of the stream, not of each clip."""
    gain: Annotated[float, Gt(0), Le(1)] = 0.1
    """How fast the threshold follows: in nats a clip that keeps twice its share, or nothing."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep what changed; all while there is nothing of this grid to compare with."""
        return self.advance(tokens, context)[0]

    def advance(
        self, tokens: VisualTokens, context: ReductionContext
    ) -> tuple[KeptTokens, Tensor | None]:
        """With the threshold for the next clip, float []; None until two could be compared."""
        whole = evenly_spaced(len(tokens), num_kept(len(tokens), 1.0, context.max_kept))
        distance = _distance(tokens, context)
        if distance is None:
            return keep_rows(tokens, whole), context.carried
        threshold = self._threshold(distance, context)
        keep = distance > threshold
        rows = strongest_rows(keep, distance, at_least=0, at_most=context.max_kept)
        moved = threshold * torch.exp(self.gain * (keep.float().mean() / self.keep_ratio - 1))
        carried = moved.clamp(_LOWEST, _HIGHEST)
        return keep_rows(tokens, whole if self.keep_ratio == 1 else rows), carried

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
