"""What has changed in a clip beside what was last kept of its cells, and what is worth keeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.reduce.base import ReductionContext, Reference
from streamvlm.reduce.ops import cosine_distances, neighbour_distance, row_lengths
from streamvlm.types import VisualTokens

Distance = Annotated[float, Ge(0), Le(2)]
"""1 - cosine: 0 same direction, 1 unrelated, 2 opposite."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipChange:
    """How a clip differs from what was last kept of its cells."""

    distance: Tensor
    """float [...,N]: of a clip, or of several."""
    is_changed: Tensor
    """bool [...,N]: beyond the threshold. One minus their share is the drop ratio of the curve:
    neither refreshes nor caps are in it."""
    is_cut: Tensor
    """bool [...]: another scene."""
    is_due: Tensor
    """bool [...,N]: whose turn it is to be refreshed, or who missed it under a cap."""

    @property
    def is_worth_keeping(self) -> Tensor:
        """bool [...,N]: for any of these reasons."""
        return self.is_changed | self.is_cut[..., None] | self.is_due


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRule:
    """How clips are compared and judged; the settings are those of `strategies.dtd.DTD`."""

    neighbourhood: int
    cut_threshold: float
    max_age: int

    def distances(self, clips: Sequence[VisualTokens], references: Sequence[Tensor]) -> Tensor:
        """float [S,N]: of clips of one grid to what was last kept of each; 0 for a zero vector."""
        features = [clip.features for clip in clips]
        if self.neighbourhood == 1:
            distance, lengths = cosine_distances(features, references)
        else:
            grid, pairs = clips[0].grid_thw, zip(features, references, strict=True)
            distance = torch.stack([neighbour_distance(*pair, grid) for pair in pairs])
            lengths = torch.stack([row_lengths(each) for each in features])
        # A zero vector (padding) says nothing: it is no change, whatever was there before.
        return distance.masked_fill(lengths == 0, 0.0)

    def judge(
        self, distance: Tensor, age: Tensor, clip_index: Tensor | int, threshold: Tensor | float
    ) -> ClipChange:
        """What follows from distances and ages [...,N]; index and threshold are those of the clip,
        or [S,1] of several.
        """
        turn = torch.arange(age.shape[-1], device=age.device) + clip_index
        return ClipChange(
            distance=distance,
            is_changed=distance > threshold,
            # In float64 the mean is the same in any order of adding.
            is_cut=distance.mean(dim=-1, dtype=torch.float64) > self.cut_threshold,
            is_due=(turn % self.max_age == 0) | (age + 1 >= self.max_age),
        )


def reference_of(tokens: VisualTokens, context: ReductionContext) -> Reference | None:
    """What was last kept, where it is of the grid of this clip."""
    reference = context.reference
    return reference if reference and reference.grid_thw == tokens.grid_thw else None
