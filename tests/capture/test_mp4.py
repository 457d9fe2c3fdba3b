"""A film is one that players show."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streamvlm.capture.mp4 import write_mp4
from streamvlm.capture.scenes import moving
from streamvlm.errors import InvalidInputError


@pytest.mark.parametrize("fps", [2.0, 0.5, 29.97])
def test_what_is_written_is_read_again(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "a:film.mp4"
    pictures = [moving(time / 2, height=64, width=96) for time in range(7)]
    assert write_mp4(path, iter(pictures), fps=fps) == 7
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        frames = list(container.decode(stream))
    assert [float(frame.time) for frame in frames] == pytest.approx(
        [index / Fraction(fps).limit_denominator(1000) for index in range(7)], abs=1e-3
    )
    for frame, picture in zip(frames, pictures, strict=True):
        shown = frame.to_ndarray(format="rgb24").astype(int)
        assert np.abs(shown - picture).mean() < 8


def test_where_it_cannot_be_written_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "film.mp4"
    with pytest.raises(InvalidInputError, match=r"none/film\.mp4: No such file"):
        write_mp4(path, [np.zeros((64, 64, 3), np.uint8)], fps=2)
