"""Keep what is unlike its clip and unlike all clips before: STC-Pruner.

After "Accelerating Streaming Video Large Language Models via Hierarchical Token Compression" (STC,
2025, arXiv 2512.00891), the pruner behind the tower. Its code keeps every past mean, chooses other
channels for each clip, and counts the clip itself as history. Here the history is one running mean
of the clips before, in channels that the first clip chose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows
from streamvlm.reduce.usual import resemblance, steady_channels
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _History:
    """What the stream has shown."""

    channels: Tensor
    """int64 [C], which channels are looked at."""
    mean: Tensor
    """float32 at least, [C], of the means of all clips."""
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class STC:
    """Keep a fixed share of each clip, what resembles clip and history least."""

    about: ClassVar[About] = About(
        title="Accelerating Streaming Video Large Language Models via Hierarchical Token "
        "Compression",
        year=2025,
        arxiv="2512.00891",
        kind="prune",
        cost="O(ND)",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        return self.advance(tokens, context)[0]

    def advance(
        self, tokens: VisualTokens, context: ReductionContext
    ) -> tuple[KeptTokens, _History | None]:
        """With the history, this clip included; None while nothing was shown."""
        history: _History | None = context.carried
        if not len(tokens):
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64)), history
        channels = steady_channels(tokens.features) if history is None else history.channels
        rows = directions(tokens.features[:, channels])
        mean = rows.mean(dim=0)
        known = resemblance(rows, mean)
        if history is not None:
            known = known + resemblance(rows, history.mean)
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        kept = keep_rows(tokens, by_strength(in_steps(-known))[:count])
        num_clips = 1 if history is None else history.num_clips + 1
        return kept, _History(
            channels=channels,
            mean=mean if history is None else history.mean.lerp(mean, 1 / num_clips),
            num_clips=num_clips,
        )
