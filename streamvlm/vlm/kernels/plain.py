"""What each operation is, in torch. `B` contexts, to each of which `S` tokens are added, of which
`Places.rows` says how many count; what lies behind those is not defined.

Every product and sum is rounded to the dtype as the classes of transformers round it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu

from streamvlm.types import RawKV
from streamvlm.vlm.kernels.places import Frequencies, Norms, Places, Raw


def angles(positions: Tensor, frequencies: Frequencies, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines [S,E], of dtype and device of `like`, at positions int64 [S,3]; computed in
    float32.
    """
    placed = positions.to(like.device).float()[:, frequencies.axes]
    both = (placed * frequencies.inverse).repeat(1, 2)
    cos, sin = (each * frequencies.scaling for each in (both.cos(), both.sin()))
    return cos.to(like.dtype), sin.to(like.dtype)


def turn(keys: Tensor, cos: Tensor, sin: Tensor) -> None:
    """Raw keys float [...,S,E] to rotated ones, in place; `cos` and `sin` [S,E], or any shape that
    broadcasts.
    """
    half = keys.shape[-1] // 2
    turned = torch.cat((-keys[..., half:], keys[..., :half]), dim=-1)
    keys.mul_(cos).add_(turned.mul_(sin))


def gather(spans: Sequence[RawKV], keys: Tensor, values: Tensor, cos: Tensor, sin: Tensor) -> None:
    """The spans' keys, rotated, and values, one behind the other, into `keys` and `values`
    [L,G,C,E]; `cos` and `sin` [S,E] of all their S <= C tokens.
    """
    there = slice(0, len(cos))
    torch.cat([span.keys for span in spans], dim=2, out=keys[:, :, there])
    torch.cat([span.values for span in spans], dim=2, out=values[:, :, there])
    turn(keys[:, :, there], cos, sin)


def norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square norm over the last dimension, float [...,D]."""
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + eps)
    normed: Tensor = weight * wide.to(x.dtype)
    return normed


def add_norm(x: Tensor, change: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Their sum, and its `norm`."""
    x = x + change
    return x, norm(x, weight, eps)


def gated(both: Tensor) -> Tensor:
    """silu(gate) * up of gate and up side by side: [...,2*I] to [...,I]."""
    gate, up = both.chunk(2, dim=-1)
    product: Tensor = silu(gate) * up
    return product


def join(
    states: Tensor,
    cos: Tensor,
    sin: Tensor,
    places: Places,
    layer: int,
    raw: Raw,
    norms: Norms | None = None,
) -> Tensor:
    """Of queries, keys and values [B,S,H+2*G,E], one behind the other, the keys, rotated, and the
    values join the contexts in one layer; gives the queries rotated, [B,S,H,E]. `cos` and `sin` are
    [B,S,E]. What is rotated goes to `raw` as it was before.
    """
    groups = places.num_groups
    query: Tensor = states[:, :, : -2 * groups].clone()
    key: Tensor = states[:, :, -2 * groups : -groups].clone()
    value = states[:, :, -groups:]
    if norms:
        query, key = norm(query, norms.query, norms.eps), norm(key, norms.key, norms.eps)
    raw.keys.copy_(key)
    if raw.queries is not None:
        raw.queries.copy_(query)
    for row, (keys, values) in enumerate(places.buffers):
        start, count = places.rows[row, 3:].tolist()
        raw.last_queries[row] = query[row, count - 1]
        turn(key[row], cos[row, :, None], sin[row, :, None])
        keys[layer, :, start : start + count] = key[row, :count].transpose(0, 1)
        values[layer, :, start : start + count] = value[row, :count].transpose(0, 1)
    turn(query, cos[:, :, None], sin[:, :, None])
    return query


def attend(query: Tensor, places: Places, layer: int, scaling: float) -> Tensor:
    """Rotated queries [B,S,H,E] attend to their contexts, and causally to what has just joined
    them: [B,S,H,E].
    """
    output = torch.zeros_like(query)
    for row, (keys, values) in enumerate(places.buffers):
        start, count = places.rows[row, 3:].tolist()
        own = query[row, :count].transpose(0, 1)[None]
        key, value = (each[layer, :, : start + count][None] for each in (keys, values))
        reach = torch.arange(start + count) <= start + torch.arange(count)[:, None]
        attended = scaled_dot_product_attention(
            own, key, value, attn_mask=reach.to(query.device), scale=scaling, enable_gqa=True
        )
        output[row, :count] = attended[0].transpose(0, 1)
    return output
