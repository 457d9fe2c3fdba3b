"""Pictures cut into squares, fine ones where much differs: a quadtree over the cells of a clip."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from streamvlm.reduce.ops import cosine_distance, in_steps
from streamvlm.types import VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Squares:
    """Pictures cut into squares, of n cells in all."""

    first: Tensor
    """int64 [n], the first cell of the square that each cell is in."""
    size: Tensor
    """int64 [n], how many cells that has."""
    means: Tensor
    """float32 at least, [n,D]: its mean."""
    grid_thw: tuple[int, int, int]


def quadtree(tokens: VisualTokens) -> tuple[Tensor, Tensor]:
    """int64 [L+1,N], the first cell of each cell's square, from cells to whole pictures; and [L,N],
    in steps, of all but the cells themselves, up to which threshold a cell is in such a square or
    in a larger one: as long as each quarter has at least that cosine to the whole.
    """
    _, num_rows, num_columns = tokens.grid_thw
    cells = torch.arange(len(tokens), device=tokens.features.device).view(tokens.grid_thw)
    levels, side = [cells.flatten()], 1
    while side < max(num_rows, num_columns):
        side *= 2
        row = torch.arange(num_rows, device=cells.device) // side * side
        column = torch.arange(num_columns, device=cells.device) // side * side
        levels.append(cells[:, row][:, :, column].flatten())
    whole = squares_of(tokens, levels[-1])
    whole_up_to: list[Tensor] = []
    for level in levels[-2::-1]:
        parts = squares_of(tokens, level)
        alike = in_steps(1 - cosine_distance(whole.means, parts.means))
        least = torch.full_like(alike, torch.inf).scatter_reduce(0, whole.first, alike, "amin")
        least = least[whole.first]
        whole_up_to.insert(0, torch.maximum(least, whole_up_to[0]) if whole_up_to else least)
        whole = parts
    nothing = torch.empty(0, len(tokens), device=cells.device)
    return torch.stack(levels), torch.stack(whole_up_to) if whole_up_to else nothing


def squares_of(tokens: VisualTokens, first: Tensor) -> Squares:
    """A clip cut so that `first`, int64 [N], is the first cell of each cell's square."""
    wide = tokens.features.to(torch.promote_types(tokens.features.dtype, torch.float32))
    size = torch.bincount(first, minlength=len(first))[first]
    sums = torch.zeros_like(wide).index_add(0, first, wide)[first]
    return Squares(first=first, size=size, means=sums / size[:, None], grid_thw=tokens.grid_thw)
