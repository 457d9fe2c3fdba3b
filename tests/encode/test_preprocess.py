"""Our patches against those of transformers' own processor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from streamvlm.encode import preprocess, resize
from streamvlm.types import GridRule
from streamvlm.vlm.patches import PatchSpec

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


def make_spec(patch_size: int, *, max_pixels: int = 448 * 448) -> PatchSpec:
    """Qwen2.5-VL's at 14, Qwen3-VL's at 16."""
    return PatchSpec(
        patch_size=patch_size,
        mean=CLIP_MEAN if patch_size == 14 else HALF,
        std=CLIP_STD if patch_size == 14 else HALF,
        rule=GridRule(cell_pixels=2 * patch_size, min_pixels=56 * 56, max_pixels=max_pixels),
    )


def processor_patches(frame: np.ndarray, spec: PatchSpec) -> tuple[torch.Tensor, list[int]]:
    """What the published processor makes of one frame: patches with it twice, and their grid."""
    processor = Qwen2VLImageProcessorPil(
        patch_size=spec.patch_size,
        image_mean=list(spec.mean),
        image_std=list(spec.std),
        min_pixels=spec.rule.min_pixels,
        max_pixels=spec.rule.max_pixels,
    )
    made = processor(images=[frame], return_tensors="pt")
    return made["pixel_values"], made["image_grid_thw"][0].tolist()


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def smooth(height: int, width: int, channels: int = 3) -> np.ndarray:
    """uint8 [H,W,3]: waves and edges, as pictures have them."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.sin(x / 17) + np.cos(y / 11) + ((x // 40 + y // 30) % 2)
    colours = np.stack([waves, waves[::-1], waves[:, ::-1]][:channels], axis=-1)
    return ((colours + 2) * 51).astype(np.uint8)


def of_frame(patches: torch.Tensor, spec: PatchSpec, index: int) -> torch.Tensor:
    """The part of each patch that shows this frame of the pair: [n, C, P, P]."""
    side = spec.patch_size
    return patches.view(-1, 3, spec.temporal_patch_size, side, side)[:, :, index]


@pytest.mark.parametrize("patch_size", [14, 16])
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (4, 7), (9, 3), (14, 14)])
def test_patches_equal_the_processors_exactly(patch_size: int, rows: int, columns: int) -> None:
    spec = make_spec(patch_size)
    cell = spec.rule.cell_pixels
    frames = noise(2, rows * cell, columns * cell, 3)
    patches, grid_thw = preprocess(torch.from_numpy(frames)[None], spec)
    assert patches.dtype == torch.float32
    assert patches.shape == (2 * rows * 2 * columns, spec.patch_values)
    for index, frame in enumerate(frames):
        expected, grid = processor_patches(frame, spec)
        assert list(grid_thw) == grid
        assert torch.equal(of_frame(patches, spec, index), of_frame(expected, spec, index))


@pytest.mark.parametrize("patch_size", [14, 16])
def test_one_frame_is_a_pair_of_itself_as_for_the_processor(patch_size: int) -> None:
    spec = make_spec(patch_size)
    frame = noise(3 * spec.rule.cell_pixels, 5 * spec.rule.cell_pixels, 3)
    patches, grid_thw = preprocess(torch.from_numpy(frame)[None, None], spec)
    expected, grid = processor_patches(frame, spec)
    assert torch.equal(patches, expected)
    assert list(grid_thw) == grid


def test_an_odd_clip_is_filled_up_with_its_last_frame() -> None:
    spec = make_spec(14)
    pixels = torch.from_numpy(noise(1, 3, 56, 84, 3))
    filled = torch.cat([pixels, pixels[:, -1:]], dim=1)
    odd, even = preprocess(pixels, spec), preprocess(filled, spec)
    assert torch.equal(odd[0], even[0])
    assert odd[1] == even[1] == (2, 4, 6)


def test_a_longer_clip_is_its_pairs_one_after_the_other() -> None:
    spec = make_spec(16)
    pixels = torch.from_numpy(noise(1, 4, 64, 96, 3))
    pairs = [preprocess(pixels[:, start : start + 2], spec)[0] for start in (0, 2)]
    assert torch.equal(preprocess(pixels, spec)[0], torch.cat(pairs))


@pytest.mark.parametrize("size", [(64, 96), (90, 130)], ids=["fits", "resized"])
def test_clips_of_a_batch_do_not_mix(size: tuple[int, int]) -> None:
    spec = make_spec(16)
    pixels = torch.from_numpy(noise(3, 2, *size, 3))
    alone = [preprocess(clip[None], spec)[0] for clip in pixels]
    assert torch.equal(preprocess(pixels, spec)[0], torch.cat(alone))


SIZES = [(480, 640), (1080, 1920), (1920, 1080), (333, 517), (601, 97), (57, 61), (720, 405)]

every_resize = pytest.mark.parametrize(("height", "width"), SIZES, ids=str)


@pytest.mark.parametrize("patch_size", [14, 16])
@every_resize
@pytest.mark.parametrize("picture", [smooth, noise], ids=["smooth", "noise"])
def test_a_resize_is_pillows_up_to_rounding(
    patch_size: int, height: int, width: int, picture: Callable[..., np.ndarray]
) -> None:
    rule = make_spec(patch_size).rule
    frame = picture(height, width, 3)
    ours = resize(torch.from_numpy(frame)[None, None], rule)[0, 0].numpy()
    rows, columns = rule.fit(height, width)
    # In two calls, because Pillow chooses the order of the passes by the size: clipping between
    # them makes noise differ by up to 30 levels, in Pillow's own two orders as well.
    across = Image.fromarray(frame).resize((columns, height), Image.Resampling.BICUBIC)
    theirs = np.asarray(across.resize((columns, rows), Image.Resampling.BICUBIC))
    levels = np.abs(ours.astype(int) - theirs)
    assert levels.max() <= 2
    assert (levels > 1).mean() < 1e-4
    assert (levels > 0).mean() < 0.02


@pytest.mark.parametrize("patch_size", [14, 16])
@every_resize
def test_resized_patches_are_the_processors_up_to_rounding(
    patch_size: int, height: int, width: int
) -> None:
    spec = make_spec(patch_size)
    frame = smooth(height, width)
    patches, grid_thw = preprocess(torch.from_numpy(frame)[None, None], spec)
    expected, grid = processor_patches(frame, spec)
    assert list(grid_thw) == grid
    levels = (patches - expected).view(-1, 3, spec.patch_values // 3).abs() * 255
    levels *= torch.tensor(spec.std)[:, None]
    assert levels.max() < 3.01  # rounding, and one level of the order of Pillow's passes
    assert (levels > 1.01).float().mean() < 1e-3


def test_pictures_of_the_right_size_are_not_touched() -> None:
    pixels = torch.from_numpy(noise(1, 2, 64, 96, 3))
    assert resize(pixels, make_spec(16).rule) is pixels


def test_a_resize_keeps_clips_and_frames_apart() -> None:
    pixels = torch.from_numpy(noise(3, 2, 90, 130, 3))
    rule = make_spec(16).rule
    resized = resize(pixels, rule)
    assert resized.shape == (3, 2, 96, 128, 3)
    assert resized.dtype == torch.uint8
    assert torch.equal(resized[1, 1], resize(pixels[1:2, 1:2], rule)[0, 0])


@given(
    height=st.integers(1, 4000),
    width=st.integers(1, 4000),
    cell_pixels=st.sampled_from([28, 32]),
    min_pixels=st.sampled_from([1, 56 * 56, 256 * 256]),
    max_pixels=st.sampled_from([256 * 256, 448 * 448, 1280 * 28 * 28]),
)
def test_the_resize_rule_is_the_published_one(
    height: int, width: int, cell_pixels: int, min_pixels: int, max_pixels: int
) -> None:
    rule = GridRule(cell_pixels=cell_pixels, min_pixels=min_pixels, max_pixels=max_pixels)
    try:
        expected = smart_resize(height, width, cell_pixels, min_pixels, max_pixels)
    except ValueError:
        with pytest.raises(ValueError, match="200:1"):
            rule.fit(height, width)
    else:
        assert rule.fit(height, width) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch_size": 15}, "not 28 pixels wide"),
        ({"patch_size": 0}, "must be positive"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be positive"),
    ],
)
def test_a_patch_spec_that_contradicts_itself_is_refused(change: dict, words: str) -> None:
    rule = GridRule(cell_pixels=28, min_pixels=1, max_pixels=10**6)
    with pytest.raises(ValueError, match=words):
        PatchSpec(**({"patch_size": 14, "mean": HALF, "std": HALF, "rule": rule} | change))
