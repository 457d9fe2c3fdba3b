"""Keys and values in fewer bits, after KIVI (arXiv 2402.02750): keys share a grid by channel, where
their outliers are, values by token. A block is one group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from streamvlm.remember.pictures import Pictures
from streamvlm.types import InputTokens, RawKV

Form = Literal["exact", "int8", "int4", "embeddings", "pictures"]
"""How keys and values are held, finest first; the last two are what they are made from, see
`again`."""

FORMS: tuple[Form, ...] = ("exact", "int8", "int4", "embeddings", "pictures")

_NUM_BITS = {"int8": 8, "int4": 4}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantisedKV:
    """Keys and values of S tokens as codes on evenly spaced grids: value = low + code * step."""

    codes: Tensor
    """uint8 [2,L,G,S,E], keys then values, so that a move is one copy; for int4 [2,L,G,S,E/2], the
    first half of the channels in the low bits and the second in the high ones."""
    key_grid: Tensor
    """float32 [2,L,G,1,E]: lowest value and step of each channel."""
    value_grid: Tensor
    """float32 [2,L,G,S,1]: lowest value and step of each token."""
    positions: Tensor
    """int64 [S,3], as in `RawKV`."""
    dtype: torch.dtype
    """What keys and values were, and are again when they are read."""
    spread: Tensor | None = None
    """int64 [S,M,3], as in `RawKV`."""

    def __len__(self) -> int:
        return int(self.positions.shape[0])

    @property
    def form(self) -> Form:
        """int8 or int4."""
        return "int8" if self.codes.shape[-1] == self.key_grid.shape[-1] else "int4"

    @property
    def num_bytes(self) -> int:
        """Bytes of codes, grids and positions together."""
        kept = (self.codes, self.key_grid, self.value_grid, self.positions, self.spread)
        return sum(tensor.nbytes for tensor in kept if tensor is not None)


HeldKV = RawKV | QuantisedKV | InputTokens | Pictures
"""Keys and values in memory, in any form."""


def form_of(kv: HeldKV) -> Form:
    """How these keys and values are held."""
    if isinstance(kv, Pictures):
        return "pictures"
    if isinstance(kv, InputTokens):
        return "embeddings"
    return kv.form if isinstance(kv, QuantisedKV) else "exact"


def shrunk(kv: RawKV | QuantisedKV, form: Form) -> RawKV | QuantisedKV:
    """The same in this form, at most int4, where they are; itself where it is as coarse already.
    Each number is off by half a step of its grid at most, and by what float32 and `dtype` round;
    int4 from int8 by half a step of both.
    """
    form = min(form, "int4", key=FORMS.index)
    if FORMS.index(form_of(kv)) >= FORMS.index(form):
        return kv
    exact = restored(kv, kv.codes.device) if isinstance(kv, QuantisedKV) else kv
    key_codes, key_grid = _encode(exact.keys, 2, _NUM_BITS[form])
    value_codes, value_grid = _encode(exact.values, 3, _NUM_BITS[form])
    codes = torch.stack([key_codes, value_codes])
    if form == "int4":
        low, high = codes.chunk(2, dim=-1)
        codes = low | (high << 4)
    return QuantisedKV(
        codes=codes,
        key_grid=key_grid,
        value_grid=value_grid,
        positions=exact.positions,
        dtype=exact.keys.dtype,
        spread=exact.spread,
    )


def restored(kv: QuantisedKV, device: torch.device) -> RawKV:
    """Keys and values again, on this device; only the codes travel."""
    codes = kv.codes.to(device, non_blocking=True)
    if kv.form == "int4":
        codes = torch.cat([codes & 15, codes >> 4], dim=-1)
    both = torch.empty(codes.shape, dtype=kv.dtype, device=device)
    for into, code, grid in zip(both, codes, (kv.key_grid, kv.value_grid), strict=True):
        low, step = grid.to(device)
        into.copy_(torch.addcmul(low, code.float(), step))
    return RawKV(keys=both[0], values=both[1], positions=kv.positions, spread=kv.spread)


def _encode(numbers: Tensor, group_dim: int, num_bits: int) -> tuple[Tensor, Tensor]:
    """uint8 codes of the same shape, and low and step, float32 [2,...] with `group_dim` 1 long."""
    numbers = numbers.float()
    low, high = numbers.aminmax(dim=group_dim, keepdim=True)
    step = (high - low) / (2**num_bits - 1)
    # Where all numbers of a group are equal any divisor gives code 0.
    codes = (numbers - low).div_(step.where(step > 0, 1.0)).round_()
    return codes.to(torch.uint8), torch.stack([low, step])
