"""Made-up pictures: what a synthetic scene shows at a given time. Pure functions, no clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOVING_SECONDS = 6.0
"""How long the shapes of a scene move before they rest."""
RESTING_SECONDS = 4.0
"""How long they rest: in this time no pixel changes."""


class _Shape(NamedTuple):
    """One thing that moves: an oval path, in shares of the picture's sides."""

    is_disc: bool
    color: tuple[int, int, int]
    radius: float
    center: tuple[float, float]
    reach: tuple[float, float]
    turns_per_second: float
    phase: float


_COLORS = ((220, 30, 30), (30, 90, 220), (240, 200, 40), (40, 180, 80), (240, 240, 240))


def moving(time_seconds: float, *, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured squares and discs on a textured ground; they move for 6 s, then rest for 4 s.

    The same arguments give the same picture, uint8 [H,W,3]. The first shape is a red square.
    """
    cycles, in_cycle = divmod(time_seconds, MOVING_SECONDS + RESTING_SECONDS)
    moved_seconds = cycles * MOVING_SECONDS + min(in_cycle, MOVING_SECONDS)
    picture = _ground(height, width, seed).copy()
    for shape in _shapes(seed):
        _draw(picture, shape, moved_seconds)
    return picture


def still(time_seconds: float, *, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """The scene `moving` at its start, for ever: no pixel changes."""
    return moving(0.0, height=height, width=width, seed=seed)


SCENES: dict[str, Callable[..., NDArray[np.uint8]]] = {"moving": moving, "still": still}
"""Every scene by the name that addresses and command lines use."""


@lru_cache(maxsize=4)
def _ground(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A texture with detail at several scales, so that every cell of a grid looks different."""
    generator = np.random.default_rng(seed)
    ground = np.full((height, width, 3), 90.0)
    for cell_pixels, strength in ((64, 45.0), (16, 20.0), (4, 8.0)):
        rows, columns = -(-height // cell_pixels), -(-width // cell_pixels)
        coarse = generator.uniform(-strength, strength, size=(rows, columns, 3))
        ground += coarse.repeat(cell_pixels, 0).repeat(cell_pixels, 1)[:height, :width]
    picture: NDArray[np.uint8] = ground.clip(0, 255).astype(np.uint8)
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=4)
def _shapes(seed: int) -> tuple[_Shape, ...]:
    generator = np.random.default_rng(seed + 1)

    def between(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    return tuple(
        _Shape(
            is_disc=index % 2 == 1,
            color=color,
            radius=between(0.06, 0.14),
            center=(between(0.3, 0.7), between(0.3, 0.7)),
            reach=(between(0.1, 0.25), between(0.1, 0.25)),
            turns_per_second=between(0.05, 0.2),
            phase=between(0.0, 1.0),
        )
        for index, color in enumerate(_COLORS)
    )


def _draw(picture: NDArray[np.uint8], shape: _Shape, moved_seconds: float) -> None:
    height, width = picture.shape[:2]
    angle = 2 * np.pi * (shape.turns_per_second * moved_seconds + shape.phase)
    row = round(height * (shape.center[0] + shape.reach[0] * np.sin(angle)))
    column = round(width * (shape.center[1] + shape.reach[1] * np.cos(angle)))
    radius = max(1, round(shape.radius * min(height, width)))
    top, left = max(0, row - radius), max(0, column - radius)
    patch = picture[top : row + radius, left : column + radius]
    if not shape.is_disc:
        patch[:] = shape.color
        return
    rows, columns = np.ogrid[: patch.shape[0], : patch.shape[1]]
    inside = (rows + top - row) ** 2 + (columns + left - column) ** 2 < radius**2
    patch[inside] = shape.color
