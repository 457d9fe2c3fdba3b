"""Attention over many pictures packed in one row, batched by length instead of looped over.

transformers hands the boundaries of packed sequences only to attention functions whose name says
"flash"; for all others its vision towers split the row and call attention once a picture (or once a
window) in Python. This function takes the boundaries and runs one batched
`scaled_dot_product_attention` for each distinct length: one call for clips of one size, and at most
four for the windows of Qwen2.5-VL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

PACKED_ATTENTION = "streamvlm_packed_flash"

_MOST_SCORES = 2**24
"""Attention weights that are looked at together where somebody asks for them."""


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    *,
    cu_seq_lens_q: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """`query`, `key`, `value` float [1,H,P,E]; `cu_seq_lens_q` int [B+1], boundaries of the packed
    sequences.

    Gives [1,P,H,E]: each sequence attends to itself only, in full.
    """
    plan = _plan_of(cu_seq_lens_q)
    if (received := _asked.get(module)) is not None:
        received.append(_received(query, key, len(cu_seq_lens_q) - 1, plan, scaling))
    if plan is None:
        heads, size = query.shape[1], query.shape[-1]
        shape = heads, len(cu_seq_lens_q) - 1, -1, size
        q, k, v = (x[0].reshape(shape).transpose(0, 1) for x in (query, key, value))  # [B,H,n,E]
        attended = scaled_dot_product_attention(q, k, v, scale=scaling)
        return attended.permute(0, 2, 1, 3).reshape(1, -1, heads, size), None
    output = torch.empty_like(query)
    for rows in plan:
        q, k, v = (x[0, :, rows].transpose(0, 1) for x in (query, key, value))
        attended = scaled_dot_product_attention(q, k, v, scale=scaling)
        output[0, :, rows] = attended.transpose(0, 1)
    return output.transpose(1, 2), None


@contextmanager
def catching_received(module: torch.nn.Module) -> Iterator[list[Tensor]]:
    """While inside, what each patch receives in every call of this attention module is added to the
    list: float [P] in float32 at least, the mean over heads and queries; 1 in all for a sequence.
    """
    received = _asked[module] = []
    try:
        yield received
    finally:
        del _asked[module]


_asked: dict[torch.nn.Module, list[Tensor]] = {}


def _received(
    query: Tensor, key: Tensor, num_sequences: int, plan: list[Tensor] | None, scaling: float | None
) -> Tensor:
    """float [P] of `query` and `key` float [1,H,P,E]."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    everything = torch.arange(query.shape[2], device=query.device)
    output = query.new_empty(len(everything), dtype=torch.promote_types(query.dtype, torch.float32))
    for rows in plan if plan is not None else [everything.view(num_sequences, -1)]:
        q, k = (x[0, :, rows].transpose(0, 1) for x in (query, key))  # [B,H,n,E]
        total = output.new_zeros(rows.shape)
        # A few queries of all sequences at a time: all weights of large pictures are gigabytes.
        for some in q.split(max(1, _MOST_SCORES // max(1, k.shape[:3].numel())), dim=2):
            scores = (some @ k.transpose(2, 3)).to(output.dtype) * scale
            total += scores.softmax(dim=-1).sum(dim=(1, 2))
        output[rows] = total / q.shape[1:3].numel()
    return output


def _plan_of(boundaries: Tensor) -> list[Tensor] | None:
    """Which rows go together: int64 [B,n] for each distinct length n; None where there is one only.

    All layers of one forward pass the same tensor, so that reading it back from the device is done
    once a forward and not once a layer.
    """
    for known, plan in _plans:
        if known is boundaries:
            return plan
    starts, lengths = boundaries[:-1].long(), boundaries.diff().long()
    distinct = set(lengths.tolist())
    plan = None
    if len(distinct) > 1:
        plan = [
            starts[lengths == length][:, None] + torch.arange(length, device=starts.device)
            for length in sorted(distinct)
        ]
    _plans.append((boundaries, plan))
    return plan


_plans: deque[tuple[Tensor, list[Tensor] | None]] = deque(maxlen=2)
"""Of the present forward: Qwen2.5-VL has two, whole pictures and windows."""


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
