"""What became of each cell, painted over the picture. Colours are those of Okabe and Ito, which the
colour-blind tell apart.
"""

from __future__ import annotations

from typing import Any

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
    large = functional.interpolate(wide, scale_factor=factor, mode="bicubic")[0]
    return large.permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def paint(picture: Picture, fates: Fates | None, *, moment: float = 0.0) -> Picture:
    """The picture, uint8 [H,W,3], with dropped cells grey, merged ones in the colour of their
    cluster, and kept ones outlined; all grey where the clip was not encoded.

    `moment` in [0, 1) is where in the clip the picture was taken. H and W must be whole cells.
    """
    if fates is None:
        return grey(picture)
    frames, rows, columns = fates.grid_thw
    layer = int(moment * frames)
    height, width = picture.shape[0] // rows, picture.shape[1] // columns

    def spread(cells: NDArray[Any]) -> NDArray[Any]:
        """[N,...] of all frames to [H,W,...] of this one."""
        grid: NDArray[Any] = cells.reshape(frames, rows, columns, *cells.shape[1:])[layer]
        return grid.repeat(height, axis=0).repeat(width, axis=1)

    colours = np.array(CLUSTERS)[_colour_index(fates)]
    tinted = (1 - TINT) * picture + TINT * spread(colours)
    painted = np.where(spread(fates.owner < 0)[..., None], grey(picture), picture)
    painted = np.where(spread(fates.is_merged)[..., None], tinted, painted)
    outline = spread(fates.is_kept) & _edge(picture.shape[:2], height, width)
    painted = np.where(outline[..., None], np.array(KEPT), painted)
    return painted.round().astype(np.uint8)


def grey(picture: Picture) -> Picture:
    """Without colour, and paler."""
    luminance = picture @ np.array([0.299, 0.587, 0.114])
    pale = (0.4 * luminance + 125).round().astype(np.uint8)
    return np.repeat(pale[..., None], 3, axis=2)


def _colour_index(fates: Fates) -> NDArray[np.int64]:
    """int64 [N] into CLUSTERS: of cells that touch, also by a corner, all differ."""
    _, rows, columns = fates.grid_thw
    cell = fates.owner.clip(0) % (rows * columns)
    return np.asarray((2 * (cell // columns) + cell % columns) % len(CLUSTERS), dtype=np.int64)


def _edge(size: tuple[int, ...], height: int, width: int) -> NDArray[np.bool_]:
    """bool [H,W]: the rim of each cell of that size."""
    rim = max(1, round(min(height, width) / 20))
    row, column = np.arange(size[0]) % height, np.arange(size[1]) % width
    is_row = (row < rim) | (row >= height - rim)
    is_column = (column < rim) | (column >= width - rim)
    edge: NDArray[np.bool_] = is_row[:, None] | is_column[None, :]
    return edge
