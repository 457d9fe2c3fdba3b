"""What covers each cell of a clip's grid: labels for the dense loss that teaches a tower to see."""

from __future__ import annotations

from math import floor

import torch
from torch import Tensor

from streamvlm.evaluate.world.things import COLORS, DIRECTIONS, SHAPES, SIZES, ZONES
from streamvlm.evaluate.world.truth import Look, Sight

_FLAT_ZONES = [zone for row in ZONES for zone in row]
_MOTIONS = ["still", *DIRECTIONS]

LABELS: dict[str, int] = {
    "color": len(COLORS) + 1,
    "shape": len(SHAPES) + 1,
    "size": len(SIZES) + 1,
    "is_center": 2,
    "zone": len(_FLAT_ZONES) + 1,
    "motion": len(_MOTIONS) + 1,
    "digit_1": 11,
    "digit_2": 11,
    "digit_3": 11,
}
"""Name -> number of classes; class 0 is "nothing there"."""

UNKNOWN = -100
"""Where the truth is not clear: no loss."""

_FINE = 6
_COVERED = 0.3
_TOUCHED = 0.02
"""Share of a cell that a thing covers to be in it, and at most to be outside."""


def cell_labels(look: Look, rows: int, columns: int) -> Tensor:
    """int64 [rows * columns, len(LABELS)], row by row; a square picture is assumed."""
    labels = torch.zeros(rows, columns, len(LABELS), dtype=torch.long)
    for sight in look.sights:  # the nearest last, over the others
        covered = _coverage(sight, rows, columns)
        labels[covered > _TOUCHED] = UNKNOWN
        labels[covered > _COVERED] = torch.tensor(_classes(sight))
        row, column = _center(sight, rows, columns)
        # The number is across the middle: only the cells there are asked for it.
        off_row = (covered > _COVERED) & (torch.arange(rows)[:, None] != row)
        labels[..., -3:][off_row] = UNKNOWN
        if 0 <= row < rows and 0 <= column < columns:
            classes = torch.tensor(_classes(sight))
            classes[list(LABELS).index("is_center")] = 1
            labels[row, column] = classes
    return labels.flatten(0, 1)


def cell_owners(look: Look, rows: int, columns: int) -> Tensor:
    """int64 [rows * columns]: the visit that covers each cell, or -1 for none."""
    owners = torch.full((rows, columns), -1)
    for sight in look.sights:
        owners[_coverage(sight, rows, columns) > _COVERED] = sight.visit
        row, column = _center(sight, rows, columns)
        if 0 <= row < rows and 0 <= column < columns:
            owners[row, column] = sight.visit
    return owners.flatten()


def _center(sight: Sight, rows: int, columns: int) -> tuple[int, int]:
    """Row and column of the cell with the thing's centre; not in the grid where that is outside."""
    return floor(sight.place[1] * rows), floor(sight.place[0] * columns)


def _coverage(sight: Sight, rows: int, columns: int) -> Tensor:
    """float32 [rows, columns]: the share of each cell inside the thing's circle."""
    y = (torch.arange(rows * _FINE) + 0.5) / (rows * _FINE)
    x = (torch.arange(columns * _FINE) + 0.5) / (columns * _FINE)
    reach = sight.thing.radius * 0.92
    inside = (y[:, None] - sight.place[1]) ** 2 + (x - sight.place[0]) ** 2 < reach**2
    return inside.view(rows, _FINE, columns, _FINE).float().mean(dim=(1, 3))


def _classes(sight: Sight) -> list[int]:
    thing = sight.thing
    digits = [int(digit) + 1 for digit in thing.plate] + [0] * (3 - len(thing.plate))
    if thing.plate and not sight.is_plate_whole:
        digits = [UNKNOWN] * 3
    return [
        1 + list(COLORS).index(thing.kind.color),
        1 + SHAPES.index(thing.kind.shape),
        1 + list(SIZES).index(thing.size),
        0,
        1 + _FLAT_ZONES.index(sight.zone) if sight.zone else UNKNOWN,
        1 + _MOTIONS.index(sight.moving) if sight.moving else UNKNOWN,
        *digits,
    ]
