"""Which pixels are greyed, coloured and outlined."""

from __future__ import annotations

import numpy as np
import pytest
from made import fates

from streamvlm.evaluate.reduction.overlay import CLUSTERS, KEPT, TINT, enlarge, grey, paint

CELL = 32
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (2 * CELL, 3 * CELL, 3), dtype=np.uint8)


def cell(picture: np.ndarray, index: int, *, inner: bool = True) -> np.ndarray:
    """One of the cells, without its rim where only what is inside counts."""
    row, column, rim = index // 3, index % 3, 4 if inner else 0
    return picture[
        row * CELL + rim : (row + 1) * CELL - rim, column * CELL + rim : (column + 1) * CELL - rim
    ]


def is_tinted(painted: np.ndarray, picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """But for rounding."""
    wanted = (1 - TINT) * picture + TINT * np.array(colour)
    return bool((np.abs(painted - wanted) < 0.51).all())


def test_each_cell_shows_what_became_of_it() -> None:
    """Cell 0 kept alone, 1 stands for 2 as well, 4 joined cell 5 of another clip; 3, 5 dropped."""
    made = fates([0, 1, 1, -1, 5, -1], grid_thw=(1, 2, 3), kept=[0, 1], merged=[1, 2, 4])
    painted = paint(PICTURE, made)
    assert np.array_equal(cell(painted, 0), cell(PICTURE, 0))
    assert is_tinted(cell(painted, 1), cell(PICTURE, 1), CLUSTERS[1])
    for dropped in (3, 5):
        assert np.array_equal(
            cell(painted, dropped, inner=False), cell(grey(PICTURE), dropped, inner=False)
        )
    for joined, owner in ((2, 1), (4, 5)):
        colour = CLUSTERS[(2 * (owner // 3) + owner % 3) % len(CLUSTERS)]
        whole = cell(painted, joined, inner=False)
        assert is_tinted(whole, cell(PICTURE, joined, inner=False), colour)
    for index in range(6):
        whole = cell(painted, index, inner=False)
        rim = np.concatenate([whole[0], whole[-1], whole[:, 0], whole[:, -1]])
        assert (rim == KEPT).all() == (index in (0, 1))


def test_a_dropped_cell_has_no_colour_but_still_a_shape() -> None:
    pale = grey(PICTURE)
    assert (pale == pale[..., :1]).all()
    assert pale.std() > 10
    dark, light = grey(np.zeros((1, 1, 3), np.uint8)), grey(np.full((1, 1, 3), 255, np.uint8))
    assert int(light[0, 0, 0]) - int(dark[0, 0, 0]) == pytest.approx(0.4 * 255, abs=2)


def test_a_clip_that_was_not_encoded_is_grey() -> None:
    assert np.array_equal(paint(PICTURE, None), grey(PICTURE))


def test_clusters_that_touch_differ_in_colour() -> None:
    size = 5
    cells = list(range(size * size))
    made = fates(cells, grid_thw=(1, size, size), kept=[], merged=cells)
    painted = paint(np.zeros((size, size, 3), dtype=np.uint8), made)
    for row in range(size):
        for column in range(size):
            around = painted[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            assert (around == painted[row, column]).all(axis=2).sum() == 1


def test_a_moment_shows_the_cells_of_its_own_time() -> None:
    owner = [0, -1, -1, 3]
    made = fates(owner, grid_thw=(2, 1, 2), kept=[0, 3])
    flat = np.full((CELL, 2 * CELL, 3), 100, dtype=np.uint8)
    for moment, kept in ((0.0, 0), (0.4, 0), (0.5, 1)):
        rims = paint(flat, made, moment=moment)[0, [0, CELL]]
        assert (rims == KEPT).all(axis=1).tolist() == [kept == 0, kept == 1]


def test_enlarging_keeps_what_is_shown() -> None:
    flat = np.full((4, 6, 3), (10, 200, 30), dtype=np.uint8)
    assert np.array_equal(enlarge(flat, 3), np.full((12, 18, 3), (10, 200, 30)))
