"""What became of each cell, painted over the picture. Colours are those of Okabe and Ito, which the
colour-blind tell apart.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from streamvlm.evaluate.reduction.fates import Fates

KEPT = (240, 228, 66)
"""The outline of a cell that is in memory."""
CLUSTERS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Cells that share a token share a colour; that of its place, so that neighbours differ and time
changes nothing."""
TINT = 0.45
"""Of the cluster's colour in a merged cell."""

Picture = NDArray[np.uint8]


def enlarge(picture: Picture, factor: int) -> Picture:
    """uint8 [H,W,3] to [H x factor, W x factor, 3], smooth."""
    wide = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    large = functional.interpolate(wide, scale_factor=factor, mode="bilinear")[0]
    return large.round().byte().permute(1, 2, 0).contiguous().numpy()


def paint(picture: Picture, fates: Fates | None, *, moment: float = 0.0) -> Picture:
    """The picture, uint8 [H,W,3], with dropped cells grey, merged ones in the colour of their
    cluster, and kept ones outlined; all grey where the clip was not encoded.

    `moment` in [0, 1) is where in the clip the picture was taken. H and W must be whole cells.
    """
    if fates is None:
        return grey(picture)
    frames, rows, columns = fates.grid_thw
    first = int(moment * frames) * rows * columns
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    rim = max(1, round(min(height, width) / 20))
    painted, colours = picture.copy(), _colour_index(fates)
    for place, (row, column) in enumerate(product(range(rows), range(columns)), first):
        # A view: what is done to it is done to the picture.
        cell = painted[row * height : (row + 1) * height, column * width : (column + 1) * width]
        if fates.owner[place] < 0:
            cell[:] = grey(cell)
        elif fates.is_merged[place]:
            colour = np.array(CLUSTERS[colours[place]], dtype=np.float32)
            cell[:] = (np.float32(1 - TINT) * cell + np.float32(TINT) * colour).round()
        if fates.is_kept[place]:
            cell[:rim] = cell[-rim:] = KEPT
            cell[:, :rim] = cell[:, -rim:] = KEPT
    return painted


def grey(picture: Picture) -> Picture:
    """Without colour, and paler."""
    red, green, blue = (picture[..., channel].astype(np.uint16) for channel in range(3))
    # Of 256: 77, 150 and 29 are the shares of luminance, 0.4 of which is left above 125.
    pale = ((31 * red + 60 * green + 12 * blue) >> 8) + 125
    return np.repeat(pale.astype(np.uint8)[..., None], 3, axis=2)


def _colour_index(fates: Fates) -> NDArray[np.int64]:
    """int64 [N] into CLUSTERS: of cells that touch, also by a corner, all differ."""
    _, rows, columns = fates.grid_thw
    cell = fates.owner.clip(0) % (rows * columns)
    return np.asarray((2 * (cell // columns) + cell % columns) % len(CLUSTERS), dtype=np.int64)
