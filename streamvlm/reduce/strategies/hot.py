"""Keep the centres of clusters: density peaks, the first half of an hourglass.

After "Hourglass Tokenizer for Efficient Transformer-Based 3D Human Pose Estimation" (HoT, 2023,
arXiv 2311.12028), whose tokens are the frames of a moving body. It prunes them to cluster centres
(TPC), lets the transformer work on these, and recovers all of them behind it by attention (TRA).
Where it breaks ties of density at random, here the lower index is the denser one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.clustering import density_peaks
from streamvlm.reduce.ops import keep_rows
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class HoT:
    """Keep a fixed share of each clip, the centres of as many clusters."""

    about: ClassVar[About] = About(
        title="Hourglass Tokenizer for Efficient Transformer-Based 3D Human Pose Estimation",
        year=2023,
        arxiv="2311.12028",
        kind="prune",
        cost="O(N^2 D)",
        licence="MIT",
        substitution="The cells of a clip are clustered, not the frames of a sequence, by the same "
        "rule. Nothing is recovered: the queries that do it are trained, and stand behind the "
        "transformer, where a reducer's output ends in front of it. What stands for it is the "
        "language model, which attends to the centres, each at its own cell, for all it says.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    neighbours: Annotated[int, Ge(1)] = 2
    """Rows that say how dense it is around one, itself among them."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        owner = density_peaks(tokens.features, count, neighbours=self.neighbours)
        return keep_rows(tokens, owner.unique())
