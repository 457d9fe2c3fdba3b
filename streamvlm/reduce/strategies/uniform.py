"""Keep evenly spaced tokens: the baseline that every other strategy must beat.

Spaced in raster order, so a ratio that divides the width keeps whole columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import evenly_spaced, keep_rows
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Keep a fixed share of each clip, evenly spaced in raster order."""

    about: ClassVar[About] = About(
        title="Evenly spaced rows", kind="prune", cost="O(kD)", licence="ours"
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens, the same cells in every clip of one size."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        return keep_rows(tokens, evenly_spaced(len(tokens), count))
