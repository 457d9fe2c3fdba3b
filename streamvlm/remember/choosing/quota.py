"""How relevant a clip is to the question says how many of its tokens come back: frame budgets.

After "QuoTA: Query-oriented Token Assignment via CoT Query Decouple for Long Video Comprehension"
(2025, arXiv 2503.08689): a frame of relevance p in [0, 1] gets a part of all tokens in proportion
to (100 p)^2, by resizing its grid. Its default mode lets a frame have more tokens than there are,
the others lose what is above; here that goes to other clips. A part pays for its clip's text too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from streamvlm.about import About
from streamvlm.remember.choosing.base import Chosen, FoundTokens, scaled
from streamvlm.remember.choosing.shares import shared_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The question decides how many tokens of a clip come back; they are evenly spaced in it."""

    about: ClassVar[About] = About(
        title="QuoTA: Query-oriented Token Assignment via CoT Query Decouple for Long Video "
        "Comprehension",
        year=2025,
        arxiv="2503.08689",
        kind="prune",
        cost="O(N R)",
        substitution="The relevance of a clip is the mean fit of its keys to the probe, brought to "
        "[0, 1] over the found clips, in place of the yes of a second model to a list of objects "
        "that a third answer drew from the question. Evenly spaced tokens stand for a resized "
        "grid, which what reduction left of a clip no longer is: both show all of it, coarser.",
    )

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """Clips whose part is less than their text and a token are left out, the least relevant
        first.
        """
        weights = scaled(found.clip_means(found.fits)).square()
        sizes = found.num_visual
        given = shared_out(weights, found.num_text + 1, found.num_text + sizes, max_tokens)
        counts = (given - found.num_text).clamp_min(0)
        # Each clip's tokens are `count` equal stretches: the middle one of each comes back.
        starts = sizes.cumsum(dim=0) - sizes
        place = torch.arange(int(counts.sum())) - torch.repeat_interleave(
            counts.cumsum(dim=0) - counts, counts
        )
        size, count, start = (
            torch.repeat_interleave(each, counts) for each in (sizes, counts, starts)
        )
        return Chosen(rows=start + (2 * place + 1) * size // (2 * count))
