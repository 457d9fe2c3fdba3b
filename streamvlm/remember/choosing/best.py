"""The tokens that fit the question best, whatever clip they are of.

Blocks first, then tokens inside them, after HISA (2026, arXiv 2603.28458), which does so in every
layer for text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.remember.choosing.base import Chosen, FoundTokens, strongest_first


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The rule that every other one must beat."""

    about: ClassVar[About] = About(
        title="the tokens whose keys fit the question best",
        kind="prune",
        cost="O(N R)",
    )

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """The best ones until the next would be one too many."""
        return Chosen(rows=found.affordable(strongest_first(found.fits), max_tokens))
