"""Merge rows that are alike, two by two, unless they are attended to: the information degree.

After "Turbo: Informativity-Driven Acceleration Plug-In for Vision-Language Large Models" (2024,
arXiv 2407.11717): ToMe where the cosine must outweigh the attention of the row that leaves. An
attended row may still take others in. There every second layer of a tower merges some, by its own
keys and attention; here the clip is merged in rounds as in `tome`, the odd rows leave instead of
the even ones, and a row that stands for several has the attention of all of them, as in a tower
that counts sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.matching import join_alike
from streamvlm.reduce.ops import keep_rows, merge_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens

_NO_ATTENTION = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Turbo:
    """Merge each clip down to a fixed share of its tokens."""

    about: ClassVar[About] = About(
        title="Turbo: Informativity-Driven Acceleration Plug-In for Vision-Language Large Models",
        year=2024,
        arxiv="2407.11717",
        kind="merge",
        cost="O(N^2 D)",
        substitution="The attention of the class token is what a token receives of all others, as a"
        " share of the clip's: both rank what the tower looks at.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    attention_weight: Annotated[float, Ge(0)] = 30.0
    """Of a row's share of all attention against a cosine; 0 is `tome`."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        attention = received_attention(tokens)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        share = attention / attention.sum().clamp_min(_NO_ATTENTION)
        return merge_rows(tokens, join_alike(tokens.features, count, self.attention_weight * share))
