"""A number of tokens handed out in proportion to weights."""

from __future__ import annotations

from bisect import bisect_left

import torch
from torch import Tensor

from streamvlm.remember.choosing.base import in_places, strongest_first

_NO_WEIGHT = 1e-12
_ROUNDING = 1e-6
"""Less than this of a token is rounding."""


def shared_out(weights: Tensor, least: Tensor, most: Tensor, total: int) -> Tensor:
    """int64 [n]: how many of `total` tokens each gets, in proportion to `weights` float [n] >= 0:
    from `least` int64 [n] >= 1 up to `most` int64 [n], or none.

    Those whose part is below their least get none, the lightest first, of equally light ones the
    last; what is more than somebody's most goes to the others. What is left by rounding goes to the
    largest remainders, of equal ones to the first.
    """
    weights = in_places(weights.double() / weights.double().sum().clamp_min(_NO_WEIGHT))
    order = strongest_first(weights)

    def is_too_many(count: int) -> bool:
        some = order[:count].sort().values
        parts = _parts(weights[some], most[some], total)
        return bool((_whole(parts) < least[some]).any())

    # Whoever is left out makes the parts of all others larger.
    count = bisect_left(range(1, len(order) + 1), True, key=is_too_many)
    some = order[:count].sort().values
    given = torch.zeros_like(most)
    given[some] = _rounded(_parts(weights[some], most[some], total), most[some], total)
    return given


def _parts(weights: Tensor, most: Tensor, total: int) -> Tensor:
    """float64 [n]: parts of `total` in proportion to the weights, none more than its most."""
    is_full = torch.zeros(len(weights), dtype=torch.bool)
    while True:
        left = total - int(most[is_full].sum())
        weight = float(weights[~is_full].sum())
        parts = weights * (left / weight if weight > 0 else 0.0)
        parts = torch.where(is_full, most.double(), parts)
        is_over = ~is_full & (parts >= most)
        if not bool(is_over.any()):
            return parts
        is_full |= is_over


def _whole(parts: Tensor) -> Tensor:
    return (parts + _ROUNDING).floor().long()


def _rounded(parts: Tensor, most: Tensor, total: int) -> Tensor:
    """int64 [n] that add up as the parts do."""
    given = _whole(parts)
    left = min(total, int((parts.sum() + _ROUNDING).floor())) - int(given.sum())
    remainders = ((parts - given) / _ROUNDING).round().masked_fill(given >= most, -torch.inf)
    given[strongest_first(remainders)[: max(0, left)]] += 1
    return given
