"""Visual tokens made by hand, and a stream of them through a reducer as the pipeline sends it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from streamvlm.reduce import Reducer, ReductionContext, reduce_clip
from streamvlm.types import ClockSource, Interval, StreamTime, VisualTokens

START = StreamTime(pts_seconds=0.0, utc_seconds=1.7e9, clock=ClockSource.FILE)
INTERVAL = Interval(start=START, end=START.later(1.0))


def make_tokens(
    features: Tensor | list[list[float]],
    *,
    grid_thw: tuple[int, int, int] | None = None,
    deepstack: Tensor | None = None,
) -> VisualTokens:
    """A clip with these features [N,D]; one row of cells unless a grid is given."""
    features = torch.as_tensor(features)
    grid_thw = grid_thw or (1, 1, len(features))
    return VisualTokens(
        features=features,
        cells=torch.cartesian_prod(*(torch.arange(size) for size in grid_thw)),
        grid_thw=grid_thw,
        interval=INTERVAL,
        pts_seconds=0.25,
        deepstack=deepstack,
    )


def angles(*degrees: float) -> VisualTokens:
    """A row of cells that point in these directions of a plane; distance 0.5 is 60 degrees."""
    radians = torch.deg2rad(torch.tensor(degrees))
    return make_tokens(torch.stack([radians.cos(), radians.sin()], dim=1))


def reduce_stream(
    reducer: Reducer, clips: Iterable[VisualTokens], context: ReductionContext | None = None
) -> list[list[int]]:
    """Indices kept of each clip."""
    context = context or ReductionContext()
    kept_indices = []
    for tokens in clips:
        kept, context = reduce_clip(reducer, tokens, context)
        kept_indices.append(kept.indices.tolist())
    return kept_indices
