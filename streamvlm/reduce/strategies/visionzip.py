"""Keep what the vision tower looks at most, and merge all the rest into few tokens beside it.

After "VisionZip: Longer is Better but Not Necessary in Vision Language Models" (2024, arXiv
2412.04467): dominant tokens by attention; of the rest, evenly spaced targets, which every other
token joins by likeness. What a merged token is here, and why, stands in `contextual.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.contextual import gather
from streamvlm.reduce.ops import by_strength
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionZip:
    """Reduce each clip to a fixed share of its tokens, which stand for all."""

    about: ClassVar[About] = About(
        title="VisionZip: Longer is Better but Not Necessary in Vision Language Models",
        year=2024,
        arxiv="2412.04467",
        kind="merge",
        cost="O(N k D)",
        licence="Apache-2.0",
        substitution="Tokens are compared by their features, not by the keys of the tower's last "
        "layer; attention received of all others is what its authors take, too, where there is no "
        "class token.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    contextual_share: Annotated[float, Gt(0), Le(1)] = 10 / 64
    """Of what is kept, at least one token; the rest is dominant."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        num_contextual = num_kept(count, self.contextual_share)
        num_dominant = count - num_contextual
        rows = by_strength(received_attention(tokens))
        rest = rows[num_dominant:].sort().values
        return gather(tokens, rows[:num_dominant], rest, num_contextual)
