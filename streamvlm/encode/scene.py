"""What a picture shows, so coarsely that noise and light are not seen: the change signal of looks.

The pixel gate must not miss anything, and a camera's noise opens it at every clip. Whether it is
worth looking again is another question.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scene_of(pixels: NDArray[np.uint8], cell_pixels: int) -> NDArray[np.float32]:
    """float32 [h, w, 3]: the mean of each cell of the last frame in shares of the picture's mean.

    `pixels` uint8 [T, H, W, 3]; what is left of H and W beyond whole cells is not looked at.
    """
    height, width = (size // cell_pixels * cell_pixels for size in pixels.shape[1:3])
    cells = pixels[-1, :height, :width].reshape(
        height // cell_pixels, cell_pixels, width // cell_pixels, cell_pixels, 3
    )
    means = cells.mean(axis=(1, 3), dtype=np.float32)
    scene: NDArray[np.float32] = means / max(1.0, float(means.mean()))
    return scene


def scenes_differ(
    one: NDArray[np.float32] | None, other: NDArray[np.float32] | None, threshold: float
) -> bool:
    """Whether any cell differs by more than `threshold`, a share of the mean brightness; always
    where one is not known or of another size.
    """
    if one is None or other is None or one.shape != other.shape:
        return True
    return bool(np.abs(one - other).max() > threshold)
