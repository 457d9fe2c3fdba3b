"""What a vision tower tells of each visual token besides its features, where asked for.

It is worked out where patches become tokens, and comes out of the tower in columns beside them:
Qwen2.5-VL works on another order of patches than it is given, and puts tokens back in order after
the merger; what rides along with them is put back in order too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from streamvlm.types import Signal
from streamvlm.vlm.salience import telling_salience
from streamvlm.vlm.sensitivity import sensitivity

_Tell = Callable[[nn.Module, Tensor], Tensor]
"""From the merger and the patches [P,C] that it is given to float [N], in the order of both."""

_TELLING: dict[Signal, Callable[[Any], AbstractContextManager[_Tell]]] = {
    "salience": telling_salience,
    "sensitivity": lambda _vision: nullcontext(sensitivity),
}
"""Each is given the tower, before a forward."""


@contextmanager
def signals_riding(vision: Any, signals: frozenset[Signal]) -> Iterator[None]:
    """While inside, what the tower gives for merged tokens has columns more: see `split_off`."""

    def ride(merger: nn.Module, inputs: tuple[Tensor], merged: Tensor) -> Tensor:
        told = torch.stack([tell(merger, *inputs) for tell in telling], dim=1)  # [N, signals]
        return torch.cat([merged, told.to(_wide(merged)).view(merged.dtype)], dim=1)

    with ExitStack() as stack:
        telling = [stack.enter_context(_TELLING[signal](vision)) for signal in sorted(signals)]
        stack.callback(vision.merger.register_forward_hook(ride).remove)
        yield


def split_off(merged: Tensor, signals: frozenset[Signal]) -> tuple[Tensor, Mapping[Signal, Tensor]]:
    """Features [N,D] and each signal [N], in float32 at least, of what `signals_riding` made."""
    wide = _wide(merged)
    columns = len(signals) * wide.itemsize // merged.dtype.itemsize
    features, bits = merged[:, :-columns], merged[:, -columns:]
    told = bits.contiguous().view(wide).unbind(dim=1)
    return features.contiguous(), dict(zip(sorted(signals), told, strict=True))


def _wide(merged: Tensor) -> torch.dtype:
    """Bits of a wider number ride in columns of a narrow one: nothing computes with them."""
    return torch.promote_types(merged.dtype, torch.float32)
