"""How much attention the patches of each visual token receive in a vision tower, where asked for.

The towers of Qwen have no class token whose attention would rank patches, as methods for CLIP and
SigLIP use it; what each patch receives of all others in the last layer that sees whole pictures
stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from streamvlm.vlm.packed_attention import catching_received


def last_full_attention(vision: Any) -> nn.Module:
    """The attention of the last block in which a patch sees its whole picture."""
    full = getattr(vision, "fullatt_block_indexes", range(len(vision.blocks)))
    attention: nn.Module = vision.blocks[max(full)].attn
    return attention


@contextmanager
def salience_riding(vision: Any) -> Iterator[None]:
    """While inside, what the tower gives for merged tokens has columns more: see `split_off`.

    Qwen2.5-VL works on another order of patches than it is given, and puts tokens back in order
    after the merger; what rides along with them is put back in order too.
    """

    def ride(_module: nn.Module, _inputs: Any, merged: Tensor) -> Tensor:
        patches = received.pop()
        salience = patches.view(len(merged), -1).sum(dim=1)
        return torch.cat([merged, salience[:, None].to(_wide(merged)).view(merged.dtype)], dim=1)

    with catching_received(last_full_attention(vision)) as received:
        hook = vision.merger.register_forward_hook(ride)
        try:
            yield
        finally:
            hook.remove()


def split_off(merged: Tensor) -> tuple[Tensor, Tensor]:
    """Features [N,D] and salience [N], in float32 at least, of what `salience_riding` made."""
    wide = _wide(merged)
    columns = wide.itemsize // merged.dtype.itemsize
    features, bits = merged[:, :-columns], merged[:, -columns:]
    return features.contiguous(), bits.contiguous().view(wide)[:, 0]


def _wide(merged: Tensor) -> torch.dtype:
    """Bits of a wider number ride in columns of a narrow one: nothing computes with them."""
    return torch.promote_types(merged.dtype, torch.float32)
