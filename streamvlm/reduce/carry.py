"""What is carried from one clip of a stream to the next."""

from __future__ import annotations

from dataclasses import replace

import torch

from streamvlm.reduce.base import Carrying, Reducer, ReductionContext, Reference
from streamvlm.types import KeptTokens, VisualTokens


def reduce_clip(
    reducer: Reducer, tokens: VisualTokens, context: ReductionContext
) -> tuple[KeptTokens, ReductionContext]:
    """What is kept of a clip, and the context of the clip behind it."""
    if isinstance(reducer, Carrying):
        kept, carried = reducer.advance(tokens, context)
    else:
        kept, carried = reducer(tokens, context), None
    behind = replace(
        context,
        clip_index=context.clip_index + 1,
        previous=tokens,
        reference=advance_reference(context.reference, tokens, kept),
        following=None,
        carried=carried,
    )
    return kept, behind


def advance_reference(
    reference: Reference | None, tokens: VisualTokens, kept: KeptTokens
) -> Reference:
    """The reference after this clip: kept cells get its feature and age 0, others get older.

    Without a reference, or after one of another grid, it starts anew: cells never kept are zero
    vectors, which resemble nothing. Changes none of its arguments.
    """
    if reference is None or reference.grid_thw != tokens.grid_thw:
        features = torch.zeros_like(tokens.features)
        age = torch.zeros(len(tokens), dtype=torch.int64, device=features.device)
    else:
        features, age = reference.features, reference.age
    # The cell's own feature and not the kept row: a merged row may be the mean of faraway cells.
    own = tokens.features.index_select(0, kept.indices)
    return Reference(
        features=features.index_copy(0, kept.indices, own),
        age=(age + 1).index_fill(0, kept.indices, 0),
        grid_thw=tokens.grid_thw,
    )
