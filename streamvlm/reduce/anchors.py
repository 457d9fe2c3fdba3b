"""Which rows of a clip the others join: the best of each part of the picture, and of all of it."""

from __future__ import annotations

import torch
from torch import Tensor

from streamvlm.reduce.ops import by_strength, ranked

_WINDOWS = 3
"""Of a picture's height, and of its width."""


def anchor_rows(
    strength: Tensor, cells: Tensor, grid_thw: tuple[int, int, int], count: int
) -> Tensor:
    """int64 [count] <= N, in order: half of them the strongest of each of nine windows, as many of
    each; the rest the strongest that are left. `strength` is float [N], `cells` int64 [N,3].
    """
    _, height, width = grid_thw
    order = by_strength(strength)
    down = cells[order, 1] * _WINDOWS // max(1, height)
    window = down * _WINDOWS + cells[order, 2] * _WINDOWS // max(1, width)
    is_local = torch.zeros_like(strength, dtype=torch.bool)
    for number in range(_WINDOWS**2):
        best = order[window == number][: count // 2 // _WINDOWS**2]
        is_local = is_local.index_fill(0, best, True)
    return ranked(is_local, strength)[:count].sort().values
