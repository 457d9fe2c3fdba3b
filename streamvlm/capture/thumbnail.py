"""A small picture of what led to an alert."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_SIDE = 192
MAX_BYTES = 12_000
"""Small enough to travel in the alert."""
_QUALITIES = (4, 8, 14, 24, 31)
"""Of JPEG in FFmpeg, best first; the first that is small enough is taken."""


def thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """A JPEG of a picture uint8 [H,W,3], at most MAX_BYTES; empty where the worst is larger."""
    height, width = pixels.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    # JPEG in 4:2:0 wants even sides.
    size = [max(2, 2 * round(side * scale / 2)) for side in (height, width)]
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    small = picture.reformat(width=size[1], height=size[0], format="yuvj420p")
    for quality in _QUALITIES:
        codec = cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", "w"))
        codec.width, codec.height, codec.pix_fmt = size[1], size[0], "yuvj420p"
        codec.time_base = Fraction(1, 1)
        codec.options = {"qmin": str(quality), "qmax": str(quality)}
        codec.thread_count = 1
        data = b"".join(bytes(packet) for packet in [*codec.encode(small), *codec.encode(None)])
        if len(data) <= MAX_BYTES:
            return data
    return b""
