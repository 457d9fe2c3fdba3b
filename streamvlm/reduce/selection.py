"""Greedy choices of rows that differ from each other: the cores of the diversity strategies.

All work on directions, float [N,D] of length 1 (`ops.directions`), and give int64 [count] in the
order of choice, of equally good rows the lower index first. One step a row, none waits for the GPU.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import threshold

from streamvlm.reduce.ops import first_highest

_NOTHING_NEW = 1e-6
"""Less than this of a row is rounding."""


def farthest_first(directions: Tensor, count: int) -> Tensor:
    """First the row whose nearest other one is farthest, then always the one that is farthest from
    all that are chosen: O(N^2 D + count N).
    """
    distance = 1 - directions @ directions.T
    choice = _Choice(distance)
    if count:
        nearest = distance.clone().fill_diagonal_(2.0).amin(dim=1)
    for step in range(count):
        row = choice.best(nearest)
        own = distance.index_select(0, row)[0]
        nearest = own if step == 0 else torch.minimum(nearest, own)
    return choice.rows


def most_volume(directions: Tensor, count: int) -> Tensor:
    """Always the row that adds most to the volume that the chosen ones span: the greedy answer to a
    determinantal point process, by Cholesky updates in O(N^2 D + count^2 N). Where nothing is new
    any more, the lowest index.
    """
    kernel = directions @ directions.T
    new = kernel.diagonal().clone()
    factors = kernel.new_zeros(count, len(kernel))
    choice = _Choice(kernel)
    for step in range(count):
        row = choice.best(new)
        known = factors[:step]
        part = kernel.index_select(0, row)[0] - known.index_select(1, row)[:, 0] @ known
        own = new.index_select(0, row)
        scale = torch.where(own > _NOTHING_NEW, own.clamp_min(_NOTHING_NEW).rsqrt(), 0.0)
        factors[step] = part * scale
        new = (new - factors[step].square()).clamp_min(0)
    return choice.rows


def most_relevant(
    directions: Tensor,
    importance: Tensor,
    count: int,
    weight: float,
    *,
    known: Tensor | None = None,
) -> Tensor:
    """Always the row of the highest `weight` x importance - (1 - weight) x cosine to the most alike
    of those chosen (maximal marginal relevance): O(count N D). `importance` is float [N]; `known`
    are directions [M,D] that are chosen already.
    """
    is_first = known is None or not len(known)
    alike = torch.zeros_like(importance)
    if known is not None and len(known):
        alike = (directions @ known.T).amax(dim=1)
    choice = _Choice(directions)
    for step in range(count):
        row = choice.best(weight * importance - (1 - weight) * alike)
        own = directions @ directions.index_select(0, row)[0]
        alike = own if is_first and step == 0 else torch.maximum(alike, own)
    return choice.rows


def farthest_important(directions: Tensor, importance: Tensor, count: int) -> Tensor:
    """First the row of the highest importance, float [N], then always that of the highest
    importance x distance to the nearest of those chosen: O(count N D).
    """
    nearest = torch.ones_like(importance)
    choice = _Choice(directions)
    for step in range(count):
        row = choice.best(importance * nearest)
        distance = 1 - directions @ directions.index_select(0, row)[0]
        nearest = torch.minimum(nearest, distance) if step else distance
    return choice.rows


def least_alike(directions: Tensor, importance: Tensor, count: int) -> Tensor:
    """First the row of the highest importance, float [N], then always the one that is least alike
    to those chosen, on average (max-sum diversity): O(count N D).
    """
    total = torch.zeros_like(directions[:, 0])
    choice = _Choice(directions)
    for step in range(count):
        row = choice.best(-total / step if step else importance)
        total = total + directions @ directions.index_select(0, row)[0]
    return choice.rows


def most_coverage(directions: Tensor, importance: Tensor, count: int) -> Tensor:
    """Always the row of the highest importance x gain: how much more alike all rows become to the
    most alike of those chosen (facility location); nothing chosen is as a cosine of 0. O(N^2 D +
    count N^2). `importance` is float [N], not negative. Where nothing gains any more, the lowest
    index.
    """
    alike = directions @ directions.T
    cover = torch.zeros_like(importance, dtype=alike.dtype)
    choice = _Choice(alike)
    for _ in range(count):
        gain = importance * threshold(alike - cover, _NOTHING_NEW, 0.0).sum(dim=1)
        # As a share of the best, as gains become small.
        row = choice.best(gain / gain.amax().clamp_min(torch.finfo(gain.dtype).tiny))
        cover = torch.maximum(cover, alike.index_select(0, row)[0])
    return choice.rows


class _Choice:
    """Rows chosen one after the other, none twice."""

    def __init__(self, like: Tensor) -> None:
        self._is_left = torch.ones(len(like), dtype=torch.bool, device=like.device)
        self._rows = [torch.empty(0, dtype=torch.int64, device=like.device)]

    def best(self, values: Tensor) -> Tensor:
        """int64 [1]: the row of the highest value that is left; it is chosen now."""
        row = first_highest(values.masked_fill(~self._is_left, -torch.inf)).view(1)
        self._is_left = self._is_left.index_fill(0, row, False)
        self._rows.append(row)
        return row

    @property
    def rows(self) -> Tensor:
        """int64 [chosen], in the order of choice."""
        return torch.cat(self._rows)
