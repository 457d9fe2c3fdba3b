"""Decoded pictures to pixels on the model's grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from streamvlm.errors import SourceFormatError
from streamvlm.types import GridRule

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Resizer:
    """Scales (bicubic), converts to RGB and turns upright; each picture may have its own format."""

    def __init__(self, rule: GridRule) -> None:
        self._rule = rule
        self._reformatter = VideoReformatter()

    def pixels(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        """uint8 [H,W,3] of the size that the rule gives. Raises SourceFormatError if impossible."""
        try:
            height, width = self._rule.fit(picture.height, picture.width)
        except ValueError as error:
            raise SourceFormatError(str(error)) from None
        # One thread: a process for each camera on a machine with many cores would start a crowd.
        try:
            rgb = self._reformatter.reformat(
                picture,
                width=width,
                height=height,
                format="rgb24",
                interpolation="BICUBIC",
                threads=1,
            )
        except av.FFmpegError as error:
            raise SourceFormatError(
                f"pictures in {picture.format.name} cannot be turned into RGB: {error.strerror}"
            ) from error
        pixels: NDArray[np.uint8] = rgb.to_ndarray().astype(np.uint8, copy=False)
        if picture.rotation:
            return np.ascontiguousarray(np.rot90(pixels, k=round(picture.rotation / 90)))
        return pixels
