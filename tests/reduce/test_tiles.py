"""The picture in tiles, and a budget among them."""

from __future__ import annotations

import pytest
import torch
from made_tokens import make_tokens

from streamvlm.reduce.tiles import best_of_each, split, tile_of_cells


def test_a_picture_that_cannot_be_halved_has_larger_tiles_first() -> None:
    tokens = make_tokens(torch.zeros(30, 1), grid_thw=(2, 3, 5))
    tile = tile_of_cells(tokens.cells, tokens.grid_thw, 2)
    first = [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [2, 2, 2, 3, 3]]
    assert tile.view(2, 3, 5)[0].tolist() == first
    assert tile.view(2, 3, 5)[1].tolist() == [[each + 4 for each in row] for row in first]


@pytest.mark.parametrize(
    ("count", "weights", "sizes", "parts"),
    [
        (4, [1, 1], [9, 9], [2, 2]),
        (3, [1, 1], [9, 9], [2, 1]),
        (5, [100, 1, 1], [2, 9, 9], [2, 2, 1]),
        (4, [0, 0], [2, 6], [1, 3]),
        (11, [5, 1, 0], [4, 4, 3], [4, 4, 3]),
        (2, [1, 0, 1], [5, 0, 5], [1, 0, 1]),
        (0, [1.0], [3], [0]),
        (0, [], [], []),
    ],
)
def test_a_budget_is_split_by_weight_and_no_part_overflows(
    count: int, weights: list[float], sizes: list[int], parts: list[int]
) -> None:
    assert split(count, weights, sizes) == parts


def test_each_part_gives_its_best() -> None:
    order, part = torch.tensor([4, 2, 0, 1, 3]), torch.tensor([0, 1, 0, 1, 1])
    assert best_of_each(order, part, [1, 2]).tolist() == [2, 4, 1]
    assert best_of_each(order[:0], part[:0], []).tolist() == []
