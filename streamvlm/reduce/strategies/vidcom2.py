"""Keep what is unlike its clip and unlike the stream; unusual clips may keep more.

After "Video Compression Commander: Plug-and-Play Inference Acceleration for Video Large Language
Models" (VidCom2, 2025, arXiv 2505.14454), which knows the whole video. Here its mean is a moving
one over about `horizon_clips`, the channels are chosen in the first clip, and a clip's budget
follows how much more or less unusual it is than those before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, keep_rows
from streamvlm.reduce.usual import resemblance, steady_channels
from streamvlm.types import KeptTokens, VisualTokens

_TEMPERATURE = 0.01
_LEAST, _MOST = 0.5, 2.0
"""Times `keep_ratio`, what a clip may keep."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stream:
    """What is usual on a stream."""

    channels: Tensor
    """int64 [C], which channels are looked at."""
    mean: Tensor
    """float32 [C], of all directions."""
    resemblance: Tensor
    """float32 [], of the clips to the stream."""
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VidCom2:
    """Keep about a fixed share of the stream, the most unusual tokens of each clip."""

    about: ClassVar[About] = About(
        title=(
            "Video Compression Commander: Plug-and-Play Inference Acceleration for Video Large "
            "Language Models"
        ),
        year=2025,
        arxiv="2505.14454",
        kind="prune",
        cost="O(ND)",
        licence="Apache-2.0",
        substitution="Moving means over the clips so far in place of those of the whole video: "
        "what is usual is known of a stream too, only later.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    horizon_clips: Annotated[int, Ge(1)] = 60
    """How far back the moving means reach."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep the tokens of the lowest resemblance."""
        return self.advance(tokens, context)[0]

    def advance(
        self, tokens: VisualTokens, context: ReductionContext
    ) -> tuple[KeptTokens, _Stream | None]:
        """With what is usual on the stream, this clip included; None while it showed nothing."""
        if not len(tokens):
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64)), context.carried
        rows, stream = _look(tokens, context)
        to_stream, mean = resemblance(rows, stream.mean), rows.mean(dim=0)
        ratio = self.keep_ratio
        if context.carried is not None and ratio < 1:
            unusual = (stream.resemblance - to_stream.mean()) / _TEMPERATURE
            ratio = min(1.0, ratio * float(unusual.exp().clamp(_LEAST, _MOST)))
        count = num_kept(len(tokens), ratio, context.max_kept)
        strength = -(to_stream + resemblance(rows, mean))
        weight = 1 / min(stream.num_clips + 1, self.horizon_clips)
        carried = _Stream(
            channels=stream.channels,
            mean=stream.mean.lerp(mean, weight),
            resemblance=stream.resemblance.lerp(to_stream.mean(), weight),
            num_clips=stream.num_clips + 1,
        )
        return keep_rows(tokens, by_strength(strength)[:count]), carried


def _look(tokens: VisualTokens, context: ReductionContext) -> tuple[Tensor, _Stream]:
    """Directions in the channels that are looked at, float32 [N,C], and what is usual."""
    stream = context.carried
    if stream is None:
        channels = steady_channels(tokens.features)
        rows = directions(tokens.features[:, channels]).float()
        mean = rows.mean(dim=0)
        stream = _Stream(
            channels=channels,
            mean=mean,
            resemblance=resemblance(rows, mean).mean(),
            num_clips=0,
        )
        return rows, stream
    return directions(tokens.features[:, stream.channels]).float(), stream
