"""Real video files for tests, written with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from streamvlm.capture.scenes import moving

TICKS_PER_SECOND = 1_000


def write_video(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 10,
    height: int = 120,
    width: int = 160,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times_seconds: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A synthetic scene as a file; `times_seconds` are presentation times, None = evenly spaced."""
    times = times_seconds or [index / fps for index in range(round(seconds * fps))]
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=Fraction(TICKS_PER_SECOND))
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        stream.codec_context.gop_size = 10
        stream.codec_context.thread_count = 1
        for time_seconds in times:
            picture = moving(time_seconds, height=height, width=width)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round(time_seconds * TICKS_PER_SECOND)
            frame.time_base = Fraction(1, TICKS_PER_SECOND)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(source: Path, target: Path, share: float) -> Path:
    """The first part of a file, as an interrupted copy leaves it."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target


def turn_upright_by_90(path: Path) -> Path:
    """Mark an mp4 as filmed with the camera on its side: rotate by 90 degrees clockwise to show."""
    content = bytearray(path.read_bytes())
    # Track header version 0 (ISO 14496-12, 8.3.2): the matrix follows 40 bytes after the type.
    start = content.index(b"tkhd") + 4 + 40
    fixed = [0, 1, 0, -1, 0, 0, 0, 0, 0x4000]
    content[start : start + 36] = b"".join(
        ((value << 16) & 0xFFFFFFFF).to_bytes(4, "big") for value in fixed
    )
    path.write_bytes(content)
    return path
