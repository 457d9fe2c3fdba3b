"""Attention over many pictures packed in one row, batched by length instead of looped over.

transformers hands the boundaries of packed sequences only to attention functions whose name says
"flash"; for all others its vision towers split the row and call attention once a picture (or once a
window) in Python. This function takes the boundaries and runs one batched
`scaled_dot_product_attention` for each distinct length: one call for clips of one size, and at most
four for the windows of Qwen2.5-VL.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

PACKED_ATTENTION = "streamvlm_packed_flash"


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
    starts, lengths = cu_seq_lens_q[:-1].long(), cu_seq_lens_q.diff().long()
    output = torch.empty_like(query)
    for length in set(lengths.tolist()):
        rows = starts[lengths == length][:, None] + torch.arange(length, device=query.device)

        def packed(x: Tensor, rows: Tensor = rows) -> Tensor:
            return x[0, :, rows].transpose(0, 1)  # [B,H,length,E]

        attended = scaled_dot_product_attention(
            packed(query), packed(key), packed(value), scale=scaling
        )
        output[0, :, rows] = attended.transpose(0, 1)
    return output.transpose(1, 2), None


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
