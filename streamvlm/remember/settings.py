"""How a memory is searched."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.remember.index import EXACT_VECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallSettings:
    """Plain values of `config.RememberConfig`."""

    score: str = "mean"
    """A rule of `score.RULES`."""
    exact_vectors: int = EXACT_VECTORS
    """See `index.BlockIndex`."""


DEFAULTS = RecallSettings()
