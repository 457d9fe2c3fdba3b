"""Optimal transport between rows: how much of each source goes to each anchor, by Sinkhorn."""

from __future__ import annotations

import torch
from torch import Tensor

_TEMPERATURE = 0.1
_MOST_ROUNDS = 100
_SETTLED = 1e-2


def transport(cost: Tensor) -> Tensor:
    """[S,A] of a cost [S,A] in units of about 1, S and A at least 1: a plan of mass 1, as each
    source gives and each anchor takes the same. It ends when the scale of the sources settles, so
    only what the anchors take is exact. The host waits in each round.
    """
    kernel = (-cost / _TEMPERATURE).exp()
    num_sources, num_anchors = cost.shape
    source, anchor = kernel.new_ones(num_sources), kernel.new_ones(num_anchors)
    for _ in range(_MOST_ROUNDS):
        before, source = source, 1 / num_sources / (kernel @ anchor)
        anchor = 1 / num_anchors / (kernel.T @ source)
        if torch.dist(source, before, p=1) / num_sources < _SETTLED:
            break
    return source[:, None] * kernel * anchor
