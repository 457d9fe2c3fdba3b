"""What a published method says of itself, for the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Where a strategy of `reduce` or a choice of `remember` comes from, and what it takes."""

    title: str
    """Of the paper; of the idea where there is none."""
    year: int | None = None
    """Of the paper's first version; None where there is no paper."""
    arxiv: str = ""
    """Such as 2502.11494; empty where it is not there, or its number was not checked."""
    kind: Literal["prune", "merge"]
    """Whether what is kept are rows as they were, or means of several."""
    lag_clips: int = 0
    """Clips behind a clip that must be seen before it is decided what stays of it; 0 for a choice,
    which has them all."""
    cost: str
    """Of a clip of N tokens of size D, k of them kept: such as O(N^2 D). Of a choice: of N found
    tokens of C clips with keys of length R."""
    licence: str = "none found"
    """Of the authors' code, which nothing here was copied from."""
    substitution: str = ""
    """What stands here for what the paper has and we do not, and why it is still that method."""
