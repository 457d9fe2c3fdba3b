"""Keep what the vision tower looks at most: the plainest use of its attention.

After FasterVLM, "[CLS] Attention is All You Need for Training-Free Visual Token Pruning: Make VLM
Inference Faster" (2024, arXiv 2412.01818). It knows nothing of repetition: where the tower looks at
one thing, all tokens of that thing are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class FasterVLM:
    """Keep a fixed share of each clip, the most attended tokens."""

    about: ClassVar[About] = About(
        title="[CLS] Attention is All You Need for Training-Free Visual Token Pruning: "
        "Make VLM Inference Faster",
        year=2024,
        arxiv="2412.01818",
        kind="prune",
        cost="O(N log N)",
        licence="Apache-2.0",
        substitution="The attention that a token receives of all others stands for that of the "
        "class token, which the towers of Qwen have not; both rank tokens by one vector of the "
        "tower's own.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        return keep_rows(tokens, by_strength(received_attention(tokens))[:count])
