"""Keep everything: no reduction, the reference that every strategy is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import evenly_spaced, keep_rows
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AllTokens:
    """Keep every token, or evenly spaced ones under a cap."""

    about: ClassVar[About] = About(title="Everything", kind="prune", cost="O(ND)", licence="ours")
    needs: ClassVar[frozenset[Signal]] = frozenset()

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep K = N tokens, or `context.max_kept`."""
        count = num_kept(len(tokens), 1.0, context.max_kept)
        return keep_rows(tokens, evenly_spaced(len(tokens), count))
