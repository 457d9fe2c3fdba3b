"""Everything."""

from __future__ import annotations

from collections.abc import Sequence

from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "all"}
EXAMPLE = Example(settings={}, clips=[angles(0, 0, 90, 0, 0)], rows=[[0, 1, 2, 3, 4]])


def reference(clips: Sequence[VisualTokens]) -> list[Expected]:
    """Every row of every clip."""
    return [Expected(rows=list(range(len(clip)))) for clip in clips]
