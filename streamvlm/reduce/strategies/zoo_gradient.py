"""Keep what the projector answers most to, and of that what differs.

After "ZOO-Prune: Training-Free Token Pruning via Zeroth-Order Gradient Estimation in
Vision-Language Models" (2025, arXiv 2509.24837). How much a token's feature changes when what it is
made of moves a little is measured in the vision tower, with the published 64 directions and steps
of 0.01. The first row is the most sensitive; a further one is worth its sensitivity, scaled to
[0, 1] in its clip, times its cosine distance to the nearest of those chosen. So the least sensitive
of a clip comes last, however far it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept, told
from streamvlm.reduce.ops import directions, keep_rows, scaled
from streamvlm.reduce.selection import farthest_important
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooGradient:
    """Keep a fixed share of each clip."""

    about: ClassVar[About] = About(
        title="ZOO-Prune: Training-Free Token Pruning via Zeroth-Order Gradient Estimation in "
        "Vision-Language Models",
        year=2025,
        arxiv="2509.24837",
        kind="prune",
        cost="O(kND), and the projector 128 times",
        substitution="Directions are drawn once, not for each picture, so that what looks the same "
        "is the same; a step moves all patches that the projector merges into a token, in float32 "
        "at least, where the authors' code rounds it to float16.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"sensitivity"})
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        rows = directions(tokens.features)
        sensitivity = scaled(told(tokens, "sensitivity").to(rows.dtype))
        return keep_rows(tokens, farthest_important(rows, sensitivity, count))
