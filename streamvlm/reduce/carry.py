"""What is carried from one clip of a stream to the next."""

from __future__ import annotations

from dataclasses import replace

import torch

from streamvlm.reduce.base import Carrying, Reducer, ReductionContext, Reference
from streamvlm.types import KeptTokens, VisualTokens


def reduce_clip(
    reducer: Reducer, tokens: VisualTokens, context: ReductionContext, *, reuse: bool = False
) -> tuple[KeptTokens, ReductionContext]:
    """What is kept of a clip, and the context of the clip behind it. `reuse` as in
    `advance_reference`.
    """
    if isinstance(reducer, Carrying):
        kept, carried = reducer.advance(tokens, context)
    else:
        kept, carried = reducer(tokens, context), None
    behind = replace(
        context,
        clip_index=context.clip_index + 1,
        previous=tokens,
        reference=advance_reference(context.reference, tokens, kept, reuse=reuse),
        following=None,
        carried=carried,
    )
    return kept, behind


def advance_reference(
    reference: Reference | None, tokens: VisualTokens, kept: KeptTokens, *, reuse: bool = False
) -> Reference:
    """The reference after this clip: kept cells get its feature and age 0, others get older.

    Without a reference, or after one of another grid, it starts anew: cells never kept are zero
    vectors, which resemble nothing. With `reuse` the rows are written into the old reference, which
    must be one that this made and that nobody else holds; else no argument changes.
    """
    if reference is None or reference.grid_thw != tokens.grid_thw:
        features = torch.zeros_like(tokens.features)
        age = torch.zeros(len(tokens), dtype=torch.int64, device=features.device)
    else:
        features = reference.features if reuse else reference.features.clone()
        age = reference.age
    # The cell's own feature and not the kept row: a merged row may be the mean of faraway cells.
    features[kept.indices] = tokens.features.index_select(0, kept.indices)
    return Reference(
        features=features,
        age=(age + 1).index_fill(0, kept.indices, 0),
        grid_thw=tokens.grid_thw,
    )
