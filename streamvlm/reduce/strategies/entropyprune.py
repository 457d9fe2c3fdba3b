"""Keep what differs most from head to head: the entropy of a token's own Gram matrix.

After "EntropyPrune: Matrix Entropy Guided Visual Token Pruning for Multimodal Large Language
Models" (2026, arXiv 2602.17196). A token is a small matrix, a row a head. Less its mean row, its
Gram matrix has eigenvalues whose entropy says in how many directions the heads differ. Of the two
Gram matrices, which share what is not 0, the one of heads is the smaller: so it is cheap.

The authors' code does not scale the matrix to trace 1, so what it sums is no entropy, and falls
with the size of a token where that is large. Queries of a language model and the features here are
of other sizes; so by default it is scaled here, and `trace_normalise=False` is their code. Which of
the two their paper means was not checked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, in_steps, keep_rows, scaled
from streamvlm.types import KeptTokens, VisualTokens

_LEAST = 1e-10
"""What an eigenvalue of 0 counts as, and the trace of a token whose heads are all alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyPrune:
    """Keep a fixed share of each clip, the highest entropies."""

    about: ClassVar[About] = About(
        title="EntropyPrune: Matrix Entropy Guided Visual Token Pruning for Multimodal Large "
        "Language Models",
        year=2026,
        arxiv="2602.17196",
        kind="prune",
        cost="O(N (h D + h^3)), h heads",
        substitution="Heads are equal parts of the feature, one after the other, where the paper "
        "takes those of the queries of an early layer of the language model, which has not run "
        "yet; the same is then measured of them. Which layer it is, the other half of the paper, "
        "falls away.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    num_heads: Annotated[int, Ge(2)] = 32
    """As in the model of the paper; fewer where the feature cannot be so divided."""
    trace_normalise: bool = True
    """Whether the eigenvalues of a token are scaled to a sum of 1."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        strength = in_steps(scaled(self.entropies(tokens.features)))
        return keep_rows(tokens, by_strength(strength)[:count])

    def entropies(self, features: Tensor) -> Tensor:
        """float64 [N] of features [N,D], as a share of the highest there is of so many heads."""
        num_heads = math.gcd(features.shape[1], self.num_heads)
        heads = features.double().unflatten(1, (num_heads, -1))  # [N, h, d]
        heads = heads - heads.mean(dim=1, keepdim=True)
        gram = heads @ heads.mT / num_heads
        eigenvalues = torch.linalg.eigvalsh(gram)  # [N, h]
        if self.trace_normalise:
            eigenvalues = eigenvalues / eigenvalues.sum(dim=1, keepdim=True).clamp_min(_LEAST)
        eigenvalues = eigenvalues.clamp_min(_LEAST)
        entropy: Tensor = -(eigenvalues * eigenvalues.log()).sum(dim=1)
        return entropy / math.log(max(2, num_heads))
