"""The operations of `plain` as Triton kernels, of the same names and arguments. Roundings are the
same, but where the compiler makes a product and a sum one operation: then there is one fewer.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from streamvlm.vlm.kernels.attend import attend
from streamvlm.vlm.kernels.gather import angles, gather, turned
from streamvlm.vlm.kernels.places import Norms, Places, Raw

__all__ = ["add_norm", "angles", "attend", "gated", "gather", "join", "norm"]

_GATED = 1024
"""Numbers that one program of `gated` makes."""


@triton.jit
def _normed(x, weight, eps, size, dtype: tl.constexpr):
    wide = x.to(tl.float32)
    wide = wide * tl.rsqrt(tl.sum(wide * wide, axis=0) / size + eps)
    return (weight.to(tl.float32) * wide.to(dtype).to(tl.float32)).to(dtype)


@triton.jit
def _add_norm(x, change, weight, total, output, eps, size, ADDS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * size
    column = tl.arange(0, BLOCK)
    there = column < size
    own = tl.load(x + row + column, mask=there, other=0.0)
    if ADDS:
        own = own.to(tl.float32) + tl.load(change + row + column, mask=there, other=0.0).to(
            tl.float32
        )
        own = own.to(x.dtype.element_ty)
        tl.store(total + row + column, own, mask=there)
    scale = tl.load(weight + column, mask=there, other=0.0)
    normed = _normed(own, scale, eps, size, x.dtype.element_ty)
    tl.store(output + row + column, normed, mask=there)


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """See `plain.norm`."""
    output = torch.empty_like(x)
    _launch_norm(x, x, weight, x, output, eps, adds=False)
    return output


def add_norm(x: Tensor, change: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `plain.add_norm`."""
    total, output = torch.empty_like(x), torch.empty_like(x)
    _launch_norm(x, change, weight, total, output, eps, adds=True)
    return total, output


def _launch_norm(
    x: Tensor,
    change: Tensor,
    weight: Tensor,
    total: Tensor,
    output: Tensor,
    eps: float,
    *,
    adds: bool,
) -> None:
    assert x.is_contiguous() and change.is_contiguous()
    size = x.shape[-1]
    _add_norm[(x.numel() // size,)](
        x,
        change,
        weight,
        total,
        output,
        eps,
        size,
        ADDS=adds,
        BLOCK=triton.next_power_of_2(size),
        num_warps=8 if size > 1024 else 2,
    )


@triton.jit
def _gated(both, output, size, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < size
    gate = tl.load(both + row * 2 * size + column, mask=there, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * size + size + column, mask=there, other=0.0).to(tl.float32)
    dtype: tl.constexpr = both.dtype.element_ty
    own = (gate / (1.0 + tl.exp(-gate))).to(dtype).to(tl.float32)
    tl.store(output + row * size + column, (own * up).to(dtype), mask=there)


def gated(both: Tensor) -> Tensor:
    """See `plain.gated`."""
    assert both.is_contiguous()
    size = both.shape[-1] // 2
    output = both.new_empty(*both.shape[:-1], size)
    grid = output.numel() // size, triton.cdiv(size, _GATED)
    _gated[grid](both, output, size, BLOCK=_GATED)
    return output


@triton.jit
def _join(
    states,
    cos,
    sin,
    anchor,
    table,
    query_norm,
    key_norm,
    output,
    raw_keys,
    last_queries,
    raw_queries,
    eps,
    layer,
    num_tokens,
    num_heads,
    num_groups,
    NORMS: tl.constexpr,
    QUERIES: tl.constexpr,
    E: tl.constexpr,
):
    batch = tl.program_id(0) // num_tokens
    token = tl.program_id(0) % num_tokens
    head = tl.program_id(1)
    dtype: tl.constexpr = states.dtype.element_ty
    row = table + 5 * batch
    count = tl.load(row + 4)
    if token < count:
        half, whole = tl.arange(0, E // 2), tl.arange(0, E)
        is_query = head < num_heads
        group = head - num_heads
        own = states + (tl.program_id(0) * (num_heads + 2 * num_groups) + head) * E
        scales = query_norm if is_query else key_norm
        low = tl.load(own + half)
        high = tl.load(own + E // 2 + half)
        if NORMS:
            square = tl.sum(low.to(tl.float32) * low.to(tl.float32), axis=0)
            square += tl.sum(high.to(tl.float32) * high.to(tl.float32), axis=0)
            scale = tl.rsqrt(square / E + eps)
            low = (low.to(tl.float32) * scale).to(dtype).to(tl.float32)
            high = (high.to(tl.float32) * scale).to(dtype).to(tl.float32)
            low = (low * tl.load(scales + half).to(tl.float32)).to(dtype)
            high = (high * tl.load(scales + E // 2 + half).to(tl.float32)).to(dtype)
        c = tl.load(cos + tl.program_id(0) * E + half)
        s = tl.load(sin + tl.program_id(0) * E + half)
        first, second = turned(low, high, c, s, dtype)
        if is_query:
            into = output + (tl.program_id(0) * num_heads + head) * E
            tl.store(into + half, first)
            tl.store(into + E // 2 + half, second)
            if token == count - 1:
                into = last_queries + (batch * num_heads + head) * E
                tl.store(into + half, low)
                tl.store(into + E // 2 + half, high)
            if QUERIES:
                into = raw_queries + (tl.program_id(0) * num_heads + head) * E
                tl.store(into + half, low)
                tl.store(into + E // 2 + half, high)
        else:
            into = raw_keys + (tl.program_id(0) * num_groups + group) * E
            tl.store(into + half, low)
            tl.store(into + E // 2 + half, high)
            capacity, start = tl.load(row + 2), tl.load(row + 3)
            behind = ((layer * num_groups + group) * capacity + start + token) * E
            into = anchor + tl.load(row) + behind
            tl.store(into + half, first)
            tl.store(into + E // 2 + half, second)
            value = tl.load(own + num_groups * E + whole)
            tl.store(anchor + tl.load(row + 1) + behind + whole, value)


def join(
    states: Tensor,
    cos: Tensor,
    sin: Tensor,
    places: Places,
    layer: int,
    raw: Raw,
    norms: Norms | None = None,
) -> Tensor:
    """See `plain.join`."""
    batch, num_tokens, _, size = states.shape
    num_groups = places.num_groups
    num_heads = states.shape[2] - 2 * num_groups
    for each in (states, cos, sin, raw.keys, raw.last_queries):
        assert each.is_contiguous()
    output = states.new_empty(batch, num_tokens, num_heads, size)
    _join[(batch * num_tokens, num_heads + num_groups)](
        states,
        cos,
        sin,
        places.anchor,
        places.rows,
        norms.query if norms else states,
        norms.key if norms else states,
        output,
        raw.keys,
        raw.last_queries,
        raw.last_queries if raw.queries is None else raw.queries,
        norms.eps if norms else 0.0,
        layer,
        num_tokens,
        num_heads,
        num_groups,
        NORMS=norms is not None,
        QUERIES=raw.queries is not None,
        E=size,
        num_warps=1,
    )
    return output
