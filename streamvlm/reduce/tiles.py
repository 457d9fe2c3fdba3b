"""The picture in tiles, and a budget among them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def tile_of_cells(cells: Tensor, grid_thw: tuple[int, int, int], per_side: int) -> Tensor:
    """int64 [N]: in which of t x `per_side` x `per_side` tiles each of the cells, int64 [N,3], is.
    A picture with fewer rows or columns leaves some empty.
    """
    _, height, width = grid_thw
    down = cells[:, 1] * per_side // max(1, height)
    across = cells[:, 2] * per_side // max(1, width)
    return (cells[:, 0] * per_side + down) * per_side + across


def split(count: int, weights: Sequence[float], sizes: Sequence[int]) -> list[int]:
    """`count` <= sum of `sizes` in proportion to `weights` >= 0, no part larger than its size; what
    a full one cannot take goes to the others. What rounding leaves goes to the largest remainders,
    of equal ones to the first. Where no weight is left, the sizes decide.
    """
    parts, left = [0] * len(sizes), list(range(len(sizes)))
    while True:
        if not sum(weights[at] for at in left):
            weights = sizes
        total = sum(weights[at] for at in left)
        quota = {at: count * weights[at] / max(1e-12, total) for at in left}
        full = [at for at in left if quota[at] >= sizes[at]]
        if not full:
            break
        for at in full:
            parts[at] = sizes[at]
            count -= sizes[at]
        left = [at for at in left if at not in full]
    for at in left:
        parts[at] = int(quota[at])
    rest = count - sum(parts[at] for at in left)
    for at in sorted(left, key=lambda at: (-round(quota[at] - int(quota[at]), 6), at))[:rest]:
        parts[at] += 1
    return parts


def best_of_each(order: Tensor, part: Tensor, counts: Sequence[int]) -> Tensor:
    """int64: of each part the first rows, as many as `counts` says. `order` int64 [N] are all rows,
    the best first; `part` int64 [N] is that of each row.
    """
    ordered = part[order]
    return torch.cat(
        [order[ordered == number][:count] for number, count in enumerate(counts)] or [order[:0]]
    )
