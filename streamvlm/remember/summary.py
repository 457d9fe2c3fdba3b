"""What a block is found by, made once from its keys: their mean, their bounds, a few of them."""

from __future__ import annotations

import torch
from torch import Tensor

from streamvlm.types import Summary

MOST_REPRESENTATIVES = 4
"""As in InfLLM (arXiv 2402.04617)."""


def summarise(keys: Tensor, is_visual: Tensor) -> Summary:
    """The summary of a block with keys float32 [S,G,E] cpu in the index layer, of which `is_visual`
    bool [S] count; all of them where none is visual. S >= 1.
    """
    tokens = torch.nonzero(is_visual if bool(is_visual.any()) else ~is_visual)[:, 0]
    counted = keys[tokens]
    mean = counted.mean(dim=0)
    chosen = farthest_points(counted.flatten(1), mean.flatten(), MOST_REPRESENTATIVES)
    return Summary(
        mean=mean,
        low=counted.amin(dim=0),
        high=counted.amax(dim=0),
        keys=counted[chosen],
        tokens=tokens[chosen],
    )


def farthest_points(points: Tensor, start: Tensor, most: int) -> Tensor:
    """Rows of `points` float [M,R], int64 of at least one and at most `most`: each the farthest
    from `start` float [R] and all rows before it; the lower row where two are as far. Fewer where
    the others only repeat them.

    What differs most from the mean is what the mean alone cannot find (k-center by farthest points,
    Gonzalez 1985).
    """
    distance = (points - start).square().sum(dim=1)  # [M], to the nearest of what is chosen
    chosen: list[int] = []
    for _ in range(min(most, len(points))):
        row = int(distance.argmax())
        if chosen and distance[row] == 0:
            break
        chosen.append(row)
        distance = distance.minimum((points - points[row]).square().sum(dim=1))
    return torch.tensor(chosen)
