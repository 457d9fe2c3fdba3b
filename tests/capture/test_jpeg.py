from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from streamvlm.capture import jpeg

SIZES = [(256, 256), (112, 168), (33, 57), (1, 1)]


def picture(size: tuple[int, int]) -> np.ndarray:
    """Smooth, in all colours, with an edge."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) // 2 % 256], axis=2)
    pixels[size[0] // 2 :] = (200, 30, 30)
    return pixels.astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_comes_back_in_its_size_and_nearly_as_it_was(size: tuple[int, int]) -> None:
    pixels = picture(size)
    again = jpeg.unpacked(jpeg.packed(pixels, 3))
    assert again.shape == pixels.shape and again.dtype == np.uint8
    assert np.abs(again.astype(int) - pixels).mean() < 4


def test_others_read_it() -> None:
    pixels = picture((112, 168))
    data = jpeg.packed(pixels, 3)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        theirs = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(theirs - jpeg.unpacked(data)).mean() < 2


def test_a_finer_quantiser_takes_more_and_loses_less() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 168, 3), np.uint8)
    packed = [jpeg.packed(noise, quantiser) for quantiser in (1, 3, 10, 31)]
    sizes = [len(data) for data in packed]
    errors = [np.abs(jpeg.unpacked(data).astype(int) - noise).mean() for data in packed]
    assert sizes == sorted(sizes, reverse=True) and errors == sorted(errors)
    assert sizes[0] < 3 * 112 * 168, "as `beginning` counts on"
