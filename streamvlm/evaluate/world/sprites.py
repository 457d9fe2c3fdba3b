"""How a thing looks: its shape, its colour and its number, as a small picture with transparency."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from streamvlm.evaluate.world.things import SHAPES, Thing

SIDE = 96
"""Pixels of a sprite's side; it is drawn with a radius of `REACH` pixels."""
REACH = 46.0

_DIGIT_ROWS = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
}
"""Digits on 5 x 7 dots."""
_DOTS = {2: 6, 3: 5}
"""Number of digits -> sprite pixels a dot: as large as fits."""


@lru_cache(maxsize=256)
def sprite(thing: Thing, color: tuple[int, int, int]) -> Tensor:
    """float32 [4, SIDE, SIDE]: red, green, blue in 0..255 and the opacity in 0..1. The sRGB `color`
    may be another than the thing's own.
    """
    opacity = _outline(thing.kind.shape)
    paint = torch.tensor(color, dtype=torch.float32)
    picture = torch.cat([paint[:, None, None].expand(3, SIDE, SIDE), opacity[None]])
    return _with_plate(picture, thing.plate) if thing.plate else picture


@lru_cache(maxsize=len(SHAPES))
def _outline(shape: str) -> Tensor:
    """float32 [SIDE, SIDE]: the share of each pixel that the shape covers."""
    fine = 4
    axis = (np.arange(SIDE * fine) + 0.5) / fine - SIDE / 2
    y, x = np.meshgrid(axis / REACH, axis / REACH, indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(x, -y)
    inside = {
        "circle": lambda: radius < 0.95,
        "square": lambda: np.maximum(abs(x), abs(y)) < 0.84,
        "triangle": lambda: (y < 0.8) & (abs(x) < (y + 1.0) * 0.54),
        "star": lambda: radius < _star_edge(angle),
        "cross": lambda: (np.minimum(abs(x), abs(y)) < 0.3) & (np.maximum(abs(x), abs(y)) < 0.95),
        "ring": lambda: (radius < 0.97) & (radius > 0.74),  # a hole that no plate covers
    }[shape]()
    cells = inside.reshape(SIDE, fine, SIDE, fine).mean(axis=(1, 3))
    return torch.from_numpy(cells.astype(np.float32))


def _star_edge(angle: np.ndarray) -> np.ndarray:
    """Distance of a five-pointed star's edge from its centre, in the direction of `angle`."""
    outer, inner = 1.0, 0.42
    turn = np.pi / 5
    within = np.abs((angle + turn) % (2 * turn) - turn)  # 0 at a point, `turn` between two
    # The straight line from (outer, angle 0) to (inner, angle turn) in polar form.
    edge: np.ndarray = (outer * inner * np.sin(turn)) / (
        outer * np.sin(within) + inner * np.sin(turn - within)
    )
    return edge


def _with_plate(picture: Tensor, digits: str) -> Tensor:
    """The same with the digits in black on a white plate across the middle."""
    rows = np.array([[list(row) for row in _DIGIT_ROWS[digit].split()] for digit in digits])
    dots = np.pad((rows == "1"), ((0, 0), (1, 1), (1, 0)))  # [digits, 9, 6]
    ink = np.pad(np.concatenate(list(dots), axis=1), ((0, 0), (0, 1)))
    dot = _DOTS[len(digits)]
    ink = ink.repeat(dot, 0).repeat(dot, 1)
    top, left = (SIDE - ink.shape[0]) // 2, (SIDE - ink.shape[1]) // 2
    picture = picture.clone()
    area = picture[:, top : top + ink.shape[0], left : left + ink.shape[1]]
    area[:3] = torch.from_numpy(np.where(ink, 10.0, 250.0))
    area[3] = 1.0
    return picture
