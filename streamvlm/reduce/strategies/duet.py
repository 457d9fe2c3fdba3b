"""Keep what the vision tower looks at most, and merge what it looks at next into few tokens.

The first stage of "DUET-VLM: Dual stage Unified Efficient Token reduction for VLM Training and
Inference" (2026, arXiv 2602.18846): VisionZip whose contextual tokens are made of a pool, the next
most attended tokens, four for each contextual one. In order of attention every fourth is a target,
which the others of the pool join by likeness; what the tower hardly looks at is left out. What a
merged token is here, and why, stands in `contextual.py`. The second stage drops tokens between
layers of the language model, by the question; it is not for a reducer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.contextual import gather
from streamvlm.reduce.ops import by_strength
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Duet:
    """Reduce each clip to a fixed share of its tokens, which stand for the most attended ones."""

    about: ClassVar[About] = About(
        title="DUET-VLM: Dual stage Unified Efficient Token reduction for VLM Training and "
        "Inference",
        year=2026,
        arxiv="2602.18846",
        kind="merge",
        cost="O(k^2 D + N log N)",
        licence="Apache-2.0",
        substitution="Tokens are compared by their features, not by the keys of the tower's last "
        "layer; attention received of all others is what its authors take for Qwen, too.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    contextual_share: Annotated[float, Gt(0), Le(1)] = 35 / 205
    """Of what is kept, at least one token; the rest is dominant."""
    pool_width: Annotated[int, Ge(1)] = 4
    """Tokens of the pool for each contextual one."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        num_contextual = num_kept(count, self.contextual_share)
        num_dominant = count - num_contextual
        rows = by_strength(received_attention(tokens))
        pool = rows[num_dominant:][: self.pool_width * num_contextual]
        return gather(tokens, rows[:num_dominant], pool, num_contextual)
