"""Keep what nothing else resembles, and let it take in what resembles it: a resampler by likeness.

After "TextMonkey: An OCR-Free Large Multimodal Model for Understanding Document" (2024, arXiv
2403.04473). Tokens with a low highest cosine are important and ask the others for what is theirs;
as in the released code a token is compared with those behind it only, so that of copies the last
one stays, and the last token always does. What the kept ones ask with is trained there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, first_highest, in_steps, keep_rows
from streamvlm.reduce.weighted import merge_weighted
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMonkey:
    """Keep a fixed share of each clip, with what the others have in common with it."""

    about: ClassVar[About] = About(
        title="TextMonkey: An OCR-Free Large Multimodal Model for Understanding Document",
        year=2024,
        arxiv="2403.04473",
        kind="merge",
        cost="O(N^2 D)",
        licence="MIT",
        substitution="Instead of the trained attention of the resampler each token goes to the kept"
        " one that it resembles most, weighed as in attention without trained maps: by the exponent"
        " of cosine times the square root of D. What is kept, and that it draws on all, is as"
        " there.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        unit = directions(tokens.features)
        cosine = unit @ unit.T
        is_behind = torch.ones_like(cosine, dtype=torch.bool).triu(diagonal=1)
        alike = cosine.masked_fill(~is_behind, -torch.inf).amax(dim=1)
        kept = by_strength(-in_steps(alike))[:count].sort().values
        owner = kept[first_highest(cosine[:, kept])].index_copy(0, kept, kept)
        to_owner = cosine.gather(1, owner[:, None])[:, 0]
        sharpness = tokens.features.shape[1] ** 0.5
        return merge_weighted(tokens, owner, torch.exp(sharpness * (to_owner - 1)))
