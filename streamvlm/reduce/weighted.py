"""Merging where not every row counts the same."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from streamvlm.reduce.ops import merge_rows
from streamvlm.types import KeptTokens, VisualTokens


def merge_weighted(tokens: VisualTokens, owner: Tensor, weight: Tensor) -> KeptTokens:
    """`merge_rows` with means in which each row counts as `weight`, float [N] >= 0, says; where
    all that joined a row count nothing, they count the same. A single row stays as it was.
    """
    joined, is_in = owner.clamp_min(0), owner >= 0
    wide_type = torch.promote_types(tokens.features.dtype, torch.float32)
    weight = weight.to(wide_type) * is_in
    total = torch.zeros_like(weight).index_add(0, joined, weight)[joined]
    size = torch.zeros_like(weight).index_add(0, joined, is_in.to(wide_type))[joined]
    # The plain mean of rows that are scaled so is the weighted one.
    scale = torch.where(total > 0, size * weight / total, 1.0)[:, None]
    deepstack = tokens.deepstack
    kept = merge_rows(
        replace(
            tokens,
            features=tokens.features * scale,
            deepstack=None if deepstack is None else deepstack * scale,
        ),
        owner,
    )
    return replace(
        kept,
        features=kept.features.to(tokens.features.dtype),
        deepstack=None if kept.deepstack is None else kept.deepstack.to(tokens.features.dtype),
    )
