"""A small picture of what led to an alert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

from streamvlm.capture.jpeg import to_jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_SIDE = 192
MAX_BYTES = 12_000
"""Small enough to travel in the alert."""
_QUANTISERS = (4, 8, 14, 24, 31)
"""The first whose JPEG is small enough is taken."""


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG of a picture uint8 [H,W,3], at most MAX_BYTES; empty where the worst is larger."""
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    # JPEG in 4:2:0 wants even sides.
    size = [max(2, 2 * round(side * scale / 2)) for side in (height, width)]
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    small = picture.reformat(width=size[1], height=size[0], format="yuvj420p")
    for quantiser in _QUANTISERS:
        data = to_jpeg(small, quantiser)
        if len(data) <= MAX_BYTES:
            return data
    return b""
