"""How much attention the patches of each visual token receive in a vision tower.

The towers of Qwen have no class token whose attention would rank patches, as methods for CLIP and
SigLIP use it; what each patch receives of all others in the last layer that sees whole pictures
stands for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from streamvlm.vlm.packed_attention import catching_received


def last_full_attention(vision: Any) -> nn.Module:
    """The attention of the last block in which a patch sees its whole picture."""
    full = getattr(vision, "fullatt_block_indexes", range(len(vision.blocks)))
    attention: nn.Module = vision.blocks[max(full)].attn
    return attention


@contextmanager
def telling_salience(vision: Any) -> Iterator[Callable[[nn.Module, Tensor], Tensor]]:
    """While inside, what comes out gives the salience of the tokens at the merger."""
    with catching_received(last_full_attention(vision)) as received:
        yield (
            lambda _merger, _patches: received.pop().view(-1, vision.spatial_merge_unit).sum(dim=1)
        )
