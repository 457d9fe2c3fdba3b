"""The middles of equal stretches."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from made_tokens import angles

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "uniform", "keep_ratio": 7 / 24}
EXAMPLE = Example(settings={"keep_ratio": 0.4}, clips=[angles(0, 0, 90, 0, 0)], rows=[[1, 3]])


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """The same rows of every clip."""
    expected = []
    for clip in clips:
        count = round(keep_ratio * len(clip))
        stretch = len(clip) / count
        expected.append(Expected(rows=[floor((i + 0.5) * stretch) for i in range(count)]))
    return expected
