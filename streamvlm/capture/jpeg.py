"""JPEG by FFmpeg: a picture to bytes and back."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_jpeg(picture: av.VideoFrame, quantiser: int) -> bytes:
    """The JPEG of a picture in one of the JPEG formats, such as yuvj420p; `quantiser` is FFmpeg's,
    from 1, the finest, to 31.
    """
    codec = cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", "w"))
    codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, picture.format.name
    codec.time_base = Fraction(1, 1)
    codec.options = {"qmin": str(quantiser), "qmax": str(quantiser)}
    codec.thread_count = 1
    return b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])


def packed(pixels: NDArray[np.uint8], quantiser: int) -> bytes:
    """A JPEG of a picture uint8 [H,W,3], colours at full resolution."""
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return to_jpeg(picture.reformat(format="yuvj444p"), quantiser)


def unpacked(data: bytes) -> NDArray[np.uint8]:
    """The picture uint8 [H,W,3] of a JPEG that `packed` made."""
    codec = cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", "r"))
    codec.thread_count = 1
    (picture,) = list[av.VideoFrame]([*codec.decode(av.Packet(data)), *codec.decode(None)])
    pixels: NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
    return pixels
