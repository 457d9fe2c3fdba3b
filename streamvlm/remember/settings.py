"""How a memory is searched."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.remember.index import EXACT_VECTORS


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallSettings:
    """Plain values of `RememberConfig`."""

    score: str = "vote"
    """A rule of `score.RULES`; this one found the most with mini (benchmarks/recall.py)."""
    exact_vectors: int = EXACT_VECTORS
    """See `index.BlockIndex`."""
    max_tokens: int = 0
    """Most tokens that come back at a time, see `recall.fit_to_budget`; 0: whole blocks."""
    choice: str = "best"
    """Which ones: a name of `choosing.CHOICES`."""
    candidate_tokens: int = 32_768
    """Blocks that the index finds, up to so many tokens, of which the model says by its attention
    which come back; 0: the index alone says it."""
    group_tokens: int = 4_096
    """... so many of which it reads at a time."""
    selection: str = "shared"
    """... for all layers the same, or for each its own: a name of `respond.select.SELECTIONS`."""
    newest_blocks: int = 0
    """The newest blocks come back besides what is found, unless the question names a time."""
    gate: float = 0.0
    """Nothing comes back unless the best block stands out this far, see `gate.standing`; 0: what is
    found comes back."""
    now_recalls_nothing: bool = True
    """The memory is not even asked where a question says that it is about now."""


DEFAULTS = RecallSettings()
