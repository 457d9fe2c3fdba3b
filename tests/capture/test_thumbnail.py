from __future__ import annotations

import av
import numpy as np
import pytest

from streamvlm.capture import thumbnail
from streamvlm.capture.thumbnail import LONGEST_SIDE, MAX_BYTES


@pytest.mark.parametrize("size", [(256, 256), (1080, 1920), (480, 640), (33, 57), (2, 400)])
def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, : size[1] // 2] = (200, 30, 30)
    data = thumbnail(picture)
    assert data[:2] == b"\xff\xd8" and len(data) <= MAX_BYTES
    (decoded,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(data))
    seen = decoded.to_ndarray(format="rgb24")
    assert max(seen.shape) <= LONGEST_SIDE
    assert seen.shape[1] / seen.shape[0] == pytest.approx(size[1] / size[0], rel=0.1) or 2 in size
    assert seen[0, 0] == pytest.approx([200, 30, 30], abs=25)
    assert seen[-1, -1] == pytest.approx([0, 0, 0], abs=25)


def test_noise_is_small_too() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    assert 0 < len(thumbnail(noise)) <= MAX_BYTES
