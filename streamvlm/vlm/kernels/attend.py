"""`plain.attend` as two Triton kernels: every context is cut into as many pieces, which run side by
side, and what they found is put together (flash decoding: Dao et al., 2023, "Flash-Decoding for
long-context inference").
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from streamvlm.vlm.kernels.places import Places

_PIECES = ((1, 64), (128, 16), (512, 4))
"""Into so many pieces where this many tokens, or fewer, attend, however many contexts there are and
however long they are: what comes out is the same for one alone and among others.
"""
_KEYS = 64
"""That a program looks at together."""


@triton.jit
def _attend_piece(
    query,
    anchor,
    table,
    sums,
    peaks,
    weights,
    scaling,
    layer,
    num_tokens,
    num_groups,
    shared,
    E: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    PIECES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Rows are the tokens' queries of one group: `shared` heads of each token."""
    piece = tl.program_id(0)
    batch, group = tl.program_id(2) // num_groups, tl.program_id(2) % num_groups
    entry = table + 5 * batch
    start, count = tl.load(entry + 3), tl.load(entry + 4)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    token, head = row // shared, group * shared + row % shared
    if tl.program_id(1) * ROWS < count * shared:
        counts = token < count
        whole = tl.arange(0, E)
        first = ((batch * num_tokens + token) * num_groups * shared + head) * E
        q = tl.load(query + first[:, None] + whole[None], mask=counts[:, None], other=0.0)
        behind = (layer * num_groups + group) * tl.load(entry + 2) * E
        keys = anchor + tl.multiple_of(tl.load(entry) + behind, 16)
        values = anchor + tl.multiple_of(tl.load(entry + 1) + behind, 16)
        length = tl.cdiv(tl.cdiv(start + count, PIECES), KEYS) * KEYS
        end = tl.minimum((piece + 1) * length, start + count)
        peak = tl.full([ROWS], float("-inf"), tl.float32)
        weight = tl.zeros([ROWS], tl.float32)
        total = tl.zeros([ROWS, E], tl.float32)
        for place in range(piece * length, end, KEYS):
            column = place + tl.arange(0, KEYS).to(tl.int64)
            there = column < end
            address = column[:, None] * E + whole[None]
            k = tl.load(keys + address, mask=there[:, None], other=0.0)
            v = tl.load(values + address, mask=there[:, None], other=0.0)
            score = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scaling
            is_seen = there[None] & (column[None] <= start + token[:, None])
            score = tl.where(is_seen, score, float("-inf"))
            higher = tl.maximum(peak, tl.max(score, axis=1))
            level = tl.where(higher == float("-inf"), 0.0, higher)
            share = tl.exp(score - level[:, None])
            shrink = tl.exp(peak - level)
            weight = weight * shrink + tl.sum(share, axis=1)
            total = total * shrink[:, None] + tl.dot(
                share.to(v.dtype), v, input_precision=PRECISION
            )
            peak = higher
        into = (tl.program_id(2) * num_tokens * shared + row) * PIECES + piece
        tl.store(sums + into[:, None] * E + whole[None], total, mask=counts[:, None])
        tl.store(peaks + into, peak, mask=counts)
        tl.store(weights + into, weight, mask=counts)


@triton.jit
def _bring_together(
    sums,
    peaks,
    weights,
    table,
    output,
    num_tokens,
    num_groups,
    shared,
    E: tl.constexpr,
    PIECES: tl.constexpr,
):
    batch, group = tl.program_id(1) // num_groups, tl.program_id(1) % num_groups
    row = tl.program_id(0)
    token, head = row // shared, group * shared + row % shared
    if token < tl.load(table + 5 * batch + 4):
        piece, whole = tl.arange(0, PIECES), tl.arange(0, E)
        first = (tl.program_id(1) * num_tokens * shared + row) * PIECES
        peak = tl.load(peaks + first + piece)
        share = tl.exp(peak - tl.max(peak, axis=0))
        weight = tl.sum(tl.load(weights + first + piece) * share, axis=0)
        found = tl.load(sums + (first + piece)[:, None] * E + whole[None])
        total = tl.sum(found * share[:, None], axis=0) / weight
        into = ((batch * num_tokens + token) * num_groups * shared + head) * E
        tl.store(output + into + whole, total.to(output.dtype.element_ty))


def attend(query: Tensor, places: Places, layer: int, scaling: float) -> Tensor:
    """See `plain.attend`."""
    batch, num_tokens, num_heads, size = query.shape
    assert query.is_contiguous()
    num_groups = places.num_groups
    shared = num_heads // num_groups
    num_rows = num_tokens * shared
    pieces = next(pieces for most, pieces in _PIECES if num_tokens <= most)
    shape = batch, num_groups, num_rows, pieces
    sums = query.new_empty(*shape, size, dtype=torch.float32)
    peaks, weights = query.new_empty(2, *shape, dtype=torch.float32)
    tile = min(64, max(16, triton.next_power_of_2(num_rows)))
    _attend_piece[(pieces, triton.cdiv(num_rows, tile), batch * num_groups)](
        query,
        places.anchor,
        places.rows,
        sums,
        peaks,
        weights,
        scaling,
        layer,
        num_tokens,
        num_groups,
        shared,
        E=size,
        ROWS=tile,
        KEYS=_KEYS,
        PIECES=pieces,
        PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
    )
    output = torch.empty_like(query)
    _bring_together[(num_rows, batch * num_groups)](
        sums,
        peaks,
        weights,
        places.rows,
        output,
        num_tokens,
        num_groups,
        shared,
        E=size,
        PIECES=pieces,
    )
    return output
