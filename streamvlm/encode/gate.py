"""The pixel gate: a clip that shows nothing new is not encoded at all.

After reduction the vision tower is most of the cost of a stream, and skipping a clip is the only
thing that saves it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class PixelGate:
    """What one stream last had encoded, and which cells of a clip differ from it.

    The comparison is with the last *encoded* picture, not with the previous one: slow drift adds up
    until it counts. The state is one picture, the last frame of the last encoded clip; only
    `mark_encoded` and `forget` change it.
    """

    def __init__(self, *, threshold: float, cell_pixels: int) -> None:
        """`threshold` is a share of the grey range, `cell_pixels` the side of a visual token."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        if cell_pixels < 1:
            raise ValueError(f"cell_pixels must be positive, got {cell_pixels}")
        self._threshold = threshold
        self._cell_pixels = cell_pixels
        self._reference: NDArray[np.uint8] | None = None

    def changed_cells(self, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """bool [h,w]: cells in which any frame differs from the last encoded picture.

        `pixels` uint8 [T,H,W,3] at the model's grid size. A cell differs when its mean absolute
        difference exceeds `threshold` of the grey range; with threshold 0, when any byte differs.
        Everything has changed when nothing was encoded yet, or at another size. Changes nothing;
        raises ValueError when H or W is no multiple of a cell.
        """
        _, height, width, _ = pixels.shape
        cell = self._cell_pixels
        if height % cell or width % cell:
            raise ValueError(f"{height} x {width} pixels are not whole cells of {cell} pixels")
        grid = height // cell, width // cell
        if self._reference is None or self._reference.shape != pixels.shape[1:]:
            return np.ones(grid, dtype=np.bool_)
        # Sums and not means: exact, so that threshold 0 is byte equality.
        most = self._threshold * 255 * (cell * cell * 3)
        changed: NDArray[np.bool_] = self._differences(pixels, self._reference) > most
        return changed

    def mark_encoded(self, pixels: NDArray[np.uint8]) -> None:
        """Compare with this clip from now on: uint8 [T,H,W,3], whose last frame is copied."""
        self._reference = pixels[-1].copy()

    def forget(self) -> None:
        """Take the next clip for new, whatever it shows."""
        self._reference = None

    def _differences(
        self, pixels: NDArray[np.uint8], reference: NDArray[np.uint8]
    ) -> NDArray[np.uint32]:
        """uint32 [h,w]: absolute differences summed over each cell, of the frame with the most."""
        num_frames, height, width, _ = pixels.shape
        cell = self._cell_pixels
        # Unsigned |a - b| without a wider type: four times faster than a detour over int16.
        difference = np.maximum(pixels, reference)
        difference -= np.minimum(pixels, reference)
        # Rows first: they are added at vector speed and leave 1 / cell of the work for the columns.
        rows = difference.reshape(num_frames, height // cell, cell, width * 3)
        columns = rows.sum(axis=2, dtype=np.uint32)
        columns = columns.reshape(num_frames, height // cell, width // cell, cell * 3)
        most: NDArray[np.uint32] = columns.sum(axis=3, dtype=np.uint32).max(axis=0)
        return most
