"""How many of some numbers lie apart from the others."""

from __future__ import annotations

import torch
from torch import Tensor

_NO_DISTANCE = 1e-10


def num_outliers(values: Tensor, neighbours: int = 20, factor: float = 1.5) -> int:
    """How many of float [n] have a local outlier factor above `factor` (Breunig et al., "LOF:
    Identifying Density-Based Local Outliers", 2000): their nearest ones lie so many times denser.

    O(n * neighbours): in a row of sorted numbers the nearest ones are beside each other. Of two as
    near the smaller is the neighbour.
    """
    count = min(neighbours, len(values) - 1)
    if count < 1:
        return 0
    points = values.double().sort().values
    steps = torch.cat([torch.arange(-count, 0), torch.arange(1, count + 1)])
    beside = torch.arange(len(points))[:, None] + steps  # [n, 2 count]
    is_there = (beside >= 0) & (beside < len(points))
    beside = beside.clamp(0, len(points) - 1)
    distance = (points[beside] - points[:, None]).abs().masked_fill(~is_there, torch.inf)
    distance, order = distance.sort(dim=1, stable=True)
    distance, nearest = distance[:, :count], beside.gather(1, order)[:, :count]
    reach = torch.maximum(distance, distance[nearest, -1])
    density = 1 / (reach.mean(dim=1) + _NO_DISTANCE)
    return int((density[nearest].mean(dim=1) > factor * density).sum())
