"""Every strategy of the zoo once more: one file each, its formula written plainly and slowly.

A file is named as its strategy and has

    SPEC     settings to compare with, `name` among them
    EXAMPLE  an `Example`: clips of five tokens, where it is obvious what stays
    reference(clips, **settings)  what stays of each clip of a stream: a list of `Expected`

`test_references.py` does the comparing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from streamvlm.types import VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What must stay of one clip."""

    rows: list[int]
    """In order."""
    features: Tensor | None = None
    """float64 [K,D], where rows are merged; None: as they were."""
    weight: list[int] | None = None
    """How many tokens each stands for; None: one."""
    members: list[list[int]] | None = None
    """Rows whose positions each keeps; None: its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A stream of five tokens a clip, and the rows that stay of each."""

    settings: Mapping[str, Any]
    """Besides the name."""
    clips: Sequence[VisualTokens]
    rows: list[list[int]]
