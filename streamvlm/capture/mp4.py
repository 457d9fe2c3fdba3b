"""Pictures to an MP4 file, H.264 in yuv420p, which every player shows. Streams do not need it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av

from streamvlm.errors import InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_OPTIONS = {"preset": "veryfast", "crf": "20"}


def write_mp4(path: Path, pictures: Iterable[NDArray[np.uint8]], *, fps: float) -> int:
    """Write the pictures, each uint8 [H,W,3] RGB of one size with even sides, and give how many.
    Holds only those that the encoder looks ahead to.

    Raises InvalidInputError where the file cannot be written.
    """
    count = 0
    rate = Fraction(fps).limit_denominator(1000)
    try:
        # Absolute: FFmpeg takes what stands before a colon in a relative name for a protocol.
        with av.open(str(path.absolute()), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=rate, options=_OPTIONS)
            stream.pix_fmt = "yuv420p"
            for picture in pictures:
                if not count:
                    stream.height, stream.width = picture.shape[:2]
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = count, 1 / rate
                container.mux(stream.encode(frame))
                count += 1
            container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}") from error
    return count
