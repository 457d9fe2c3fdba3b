"""Pictures to H.264, the way a simple camera does it. The test camera needs it; streams do not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

AccessUnit = tuple[bytes, ...]
"""The NAL units of one picture, without start codes, in order."""

NAL_IDR, NAL_SPS, NAL_PPS = 5, 7, 8
_NAL_SEI, _NAL_DELIMITER = 6, 9


def nal_type(nal: bytes) -> int:
    """What a NAL unit holds: `NAL_IDR`, `NAL_SPS`, ..."""
    return nal[0] & 0x1F


def encode(
    pictures: Iterable[NDArray[np.uint8]], *, fps: int, keyframe_seconds: float = 1.0
) -> list[AccessUnit]:
    """One access unit for each picture (uint8 [H,W,3] RGB, even sides); no B-frames.

    The first one is a keyframe. Each keyframe is an IDR picture that brings its parameter sets, so
    the result may be looped, or joined to another one.
    """
    units: list[AccessUnit] = []
    codec = None
    for index, picture in enumerate(pictures):
        if codec is None:
            codec = _encoder(picture.shape[0], picture.shape[1], fps, keyframe_seconds)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = index
        units += [_split(bytes(packet)) for packet in codec.encode(frame)]
    if codec is not None:
        units += [_split(bytes(packet)) for packet in codec.encode(None)]
    return units


def _encoder(height: int, width: int, fps: int, keyframe_seconds: float) -> av.VideoCodecContext:
    codec = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = height, width
    codec.pix_fmt = "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, fps), Fraction(fps)
    codec.thread_count = 1
    keyint = max(1, round(fps * keyframe_seconds))
    # Sliced threads (part of `tune=zerolatency`) make one picture arrive as several packets.
    codec.options = {
        "preset": "ultrafast",
        "x264-params": f"keyint={keyint}:min-keyint={keyint}:scenecut=0:bframes=0:sliced-threads=0"
        ":rc-lookahead=0:sync-lookahead=0:repeat-headers=1:annexb=1:aud=0",
    }
    return codec


def _split(annex_b: bytes) -> AccessUnit:
    nals = (nal for nal in re.split(b"\x00\x00\x00\x01|\x00\x00\x01", annex_b) if nal)
    return tuple(nal for nal in nals if nal_type(nal) not in (_NAL_SEI, _NAL_DELIMITER))
