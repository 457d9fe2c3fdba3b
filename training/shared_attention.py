"""Attention in a batch whose rows are one context and many questions about it.

The context attends to itself, which needs no mask; only the questions behind it do. Nothing is
worked out for pairs of a context's token and a later question's: half of all in a usual batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

SHARED_ATTENTION = "streamvlm_shared_context"


Attended = dict[int, tuple[Tensor, Tensor]]
"""Layer -> its rotated queries and keys, float [B, H, S, E] both."""


def shared_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float | None = None,
    attended: Attended,
    **_: Any,
) -> tuple[Tensor, None]:
    """`query` float [B, H, S, E]; `key`, `value` [B, G, S, E], G a divisor of H; `attention_mask`
    bool [B, 1, Q, S]: what the last Q tokens of each row see. Those before are causal.

    Gives [B, S, H, E], and leaves the layer's queries and keys in `attended`.
    """
    repeats = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(repeats, dim=1) for each in (key, value))
    attended[module.layer_idx] = query, key
    shared = query.shape[2] - attention_mask.shape[2]
    parts = [
        scaled_dot_product_attention(
            query[:, :, :shared],
            key[:, :, :shared],
            value[:, :, :shared],
            is_causal=True,
            scale=scaling,
        ),
        scaled_dot_product_attention(
            query[:, :, shared:], key, value, attn_mask=attention_mask, scale=scaling
        ),
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


AttentionInterface.register(SHARED_ATTENTION, shared_attention)
