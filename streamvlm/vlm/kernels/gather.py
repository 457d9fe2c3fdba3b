"""`plain.gather`, and the angles for it, as Triton kernels: keys and values are read once and
written once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from streamvlm.types import RawKV
from streamvlm.vlm.kernels.places import Frequencies

_TOKENS, _HEADS = 16, 8
"""That one program moves: the angles of the tokens are read once for all heads."""


@triton.jit
def turned(low, high, cos, sin, dtype: tl.constexpr):
    """Halves of a vector, rotated, in float32; rounded after each step as torch does."""
    c, s = cos.to(tl.float32), sin.to(tl.float32)
    first = (low.to(tl.float32) * c).to(dtype).to(tl.float32)
    second = (high.to(tl.float32) * c).to(dtype).to(tl.float32)
    first = first - (high.to(tl.float32) * s).to(dtype).to(tl.float32)
    second = second + (low.to(tl.float32) * s).to(dtype).to(tl.float32)
    return first.to(dtype), second.to(dtype)


@triton.jit
def _angles(positions, axes, inverse, cos, sin, scaling, HALF: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, HALF)
    placed = tl.load(positions + token * 3 + tl.load(axes + pair)).to(tl.float32)
    angle = placed * tl.load(inverse + pair)
    dtype: tl.constexpr = cos.dtype.element_ty
    c, s = (tl.cos(angle) * scaling).to(dtype), (tl.sin(angle) * scaling).to(dtype)
    for half in range(2):
        into = token * 2 * HALF + half * HALF + pair
        tl.store(cos + into, c)
        tl.store(sin + into, s)


def angles(positions: Tensor, frequencies: Frequencies, like: Tensor) -> tuple[Tensor, Tensor]:
    """See `plain.angles`."""
    half = len(frequencies.axes)
    cos, sin = like.new_empty(2, len(positions), 2 * half)
    _angles[(len(positions),)](
        positions.to(like.device, non_blocking=True).contiguous(),
        frequencies.axes,
        frequencies.inverse,
        cos,
        sin,
        frequencies.scaling,
        HALF=half,
        num_warps=1,
    )
    return cos, sin


@triton.jit
def _gather(
    table,
    keys,
    values,
    cos,
    sin,
    num_groups,
    num_heads,
    capacity,
    E: tl.constexpr,
    TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
):
    row = table + 7 * tl.program_id(2)  # see `gather`
    length, out = tl.load(row + 5), tl.load(row + 6)
    first = tl.program_id(1) * TOKENS
    if first < length:
        key_start = tl.multiple_of(tl.load(row), 16)
        value_start = tl.multiple_of(tl.load(row + 1), 16)
        layer_step = tl.multiple_of(tl.load(row + 2), 16)
        group_step = tl.multiple_of(tl.load(row + 3), 16)
        token_step = tl.multiple_of(tl.load(row + 4), 16)
        token = first + tl.arange(0, TOKENS).to(tl.int64)
        there = (token < length)[:, None]
        half = tl.arange(0, E // 2)[None]
        whole = tl.arange(0, E)[None]
        angle = (out + token)[:, None] * E + half
        c = tl.load(cos + angle, mask=there)
        s = tl.load(sin + angle, mask=there)
        for each in range(HEADS):
            head = (tl.program_id(0) * HEADS + each).to(tl.int64)
            if head < num_heads:
                layer, group = head // num_groups, head % num_groups
                source = layer * layer_step + group * group_step
                source = source + token[:, None] * token_step
                into = (head * capacity + out + token[:, None]) * E
                low = tl.load(keys + key_start + source + half, mask=there)
                high = tl.load(keys + key_start + source + E // 2 + half, mask=there)
                value = tl.load(values + value_start + source + whole, mask=there)
                low, high = turned(low, high, c, s, keys.dtype.element_ty)
                tl.store(keys + into + half, low, mask=there)
                tl.store(keys + into + E // 2 + half, high, mask=there)
                tl.store(values + into + whole, value, mask=there)


def gather(spans: Sequence[RawKV], keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor) -> None:
    """See `plain.gather`."""
    num_layers, num_groups, capacity, size = keys.shape
    assert keys.is_contiguous() and values.is_contiguous()
    pairs = [_along_one_step(span.keys, span.values) for span in spans]
    # In numpy: a tensor is made of so many numbers far more slowly.
    table = np.array([_row_of(*pair) for pair in pairs], dtype=np.int64)
    table[:, :2] -= keys.data_ptr(), values.data_ptr()
    table[:, :2] //= keys.element_size()
    table[1:, 6] = table[:-1, 5].cumsum()
    on_device = torch.from_numpy(table).to(keys.device, non_blocking=True)
    num_heads = num_layers * num_groups
    grid = (
        triton.cdiv(num_heads, _HEADS),
        triton.cdiv(int(table[:, 5].max()), _TOKENS),
        len(pairs),
    )
    _gather[grid](
        on_device,
        keys,
        values,
        cos,
        sin,
        num_groups,
        num_heads,
        capacity,
        E=size,
        TOKENS=_TOKENS,
        HEADS=_HEADS,
    )


def _row_of(keys: Tensor, values: Tensor) -> tuple[int, ...]:
    """Addresses, steps to the next layer, group and token, how many tokens; room for where they
    go.
    """
    steps = keys.stride()
    return keys.data_ptr(), values.data_ptr(), steps[0], steps[1], steps[2], keys.shape[2], 0


def _along_one_step(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The same, with the same steps from number to number, and those behind each other at last."""
    steps = keys.stride()
    if steps == values.stride() and steps[3] == 1:
        return keys, values
    return keys.contiguous(), values.contiguous()
