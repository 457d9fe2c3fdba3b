"""Keep what the rest of the picture does not repeat: the token score of KTV.

After "KTV: Keyframes and Key Tokens Selection for Efficient Training-Free Video LLMs" (2026, arXiv
2602.03615). Its importance is the attention of CLIP's class token, which the Qwen towers have not:
here it is the distance to the clip's mean, or the attention that a token receives of all others.
Its budget goes by the question, which nobody knows at ingest: here every clip has the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, cosine_distance, directions, keep_rows, scaled
from streamvlm.reduce.salience import Salience, needed_for, received_attention
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class KTV:
    """Keep a fixed share of each clip, the highest scores."""

    about: ClassVar[About] = About(
        title="KTV: Keyframes and Key Tokens Selection for Efficient Training-Free Video LLMs",
        year=2026,
        arxiv="2602.03615",
        kind="prune",
        cost="O(ND)",
        substitution="Novelty or the attention received of all tokens in place of that of CLIP's "
        "class token, a fifth of the score; each clip has the same budget, not each key frame its "
        "own by the question.",
    )
    keep_ratio: KeepRatio = 0.25
    importance_weight: Annotated[float, Ge(0), Le(1)] = 0.2
    """Of importance; the rest is of not being repeated."""
    salience: Salience = "novelty"
    """What importance is; novelty is the distance to the clip's mean."""

    @property
    def needs(self) -> frozenset[Signal]:
        """Signals that must be present in the tokens."""
        return needed_for(self.salience)

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        importance = received_attention(tokens) if self.salience == "attention" else None
        return keep_rows(tokens, by_strength(self.scores(tokens.features, importance))[:count])

    def scores(self, features: Tensor, importance: Tensor | None = None) -> Tensor:
        """float [N] in [0, 1] of features [N,D]: the higher, the rather kept. `importance` is float
        [N]; None: the distance to the clip's mean.
        """
        rows = directions(features)
        # The mean cosine to all others, without the [N,N] of all pairs.
        repeated = (rows @ rows.sum(dim=0) - rows.square().sum(dim=1)) / max(1, len(rows) - 1)
        if importance is None:
            importance = cosine_distance(features, features.mean(dim=0, keepdim=True))
        weight = self.importance_weight
        return weight * scaled(importance) + (1 - weight) * (1 - scaled(repeated))
