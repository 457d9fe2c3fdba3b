"""How long a file is, without decoding it."""

from __future__ import annotations

from pathlib import Path

import av

from streamvlm.errors import SourceFormatError


def length_seconds(path: Path) -> float:
    """What the container says, a longer sound track included. Raises SourceFormatError."""
    try:
        # Absolute: FFmpeg takes what stands before a colon in a relative name for a protocol.
        with av.open(str(path.absolute())) as container:
            duration = container.duration
    except (av.FFmpegError, OSError) as error:
        raise SourceFormatError(f"{path} is not video: {error.strerror}") from None
    if not duration:
        raise SourceFormatError(f"{path} does not say how long it is")
    return float(duration / av.time_base)
