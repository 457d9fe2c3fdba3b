"""What pictures alone would keep, and of the rest what is near the question: recovered tokens.

After "Recoverable Compression: A Multimodal Vision Token Recovery Mechanism Guided by Text
Information" (2024, arXiv 2409.01179): the tokens most like the picture as a whole stay, of the
others those come back that are most like the text; how many of each are the outliers among their
scores. Its last step, which merges the rest into a few tokens, is left out: what does not come back
stays in memory for the next question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import normalize

from streamvlm.about import About
from streamvlm.remember.choosing.base import (
    Chosen,
    FoundTokens,
    followed_by,
    in_places,
    strongest_first,
)
from streamvlm.remember.choosing.outliers import num_outliers


@dataclass(frozen=True, slots=True, kw_only=True)
class Recoverable:
    """One part of the budget for what is typical of its clip, the other for what fits the
    question.
    """

    about: ClassVar[About] = About(
        title="Recoverable Compression: A Multimodal Vision Token Recovery Mechanism Guided by "
        "Text Information",
        year=2024,
        arxiv="2409.01179",
        kind="prune",
        cost="O(N R)",
        substitution="The mean key of a clip stands for the class token, which the Qwen towers do "
        "not have, as what tells of all of it; the fit to the probe for the likeness to the "
        "text. The numbers of outliers divide the budget in place of being it.",
    )

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """Where nothing stands out either way, a half each."""
        means = normalize(found.clip_means(found.keys.flatten(1)), dim=1)
        typical = (found.directions * means[found.clips]).sum(dim=1)
        typical, fits = in_places(typical), found.fits
        by_picture = strongest_first(typical)
        num_typical = num_outliers(typical)
        num_fitting = num_outliers(fits[by_picture[num_typical:]])
        total = num_typical + num_fitting
        part = max_tokens * num_typical // total if total else max_tokens // 2
        kept = found.affordable(by_picture, part)
        order = followed_by(kept, strongest_first(fits))
        return Chosen(rows=found.affordable(order, max_tokens))
