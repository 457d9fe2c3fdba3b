"""What all tests share: the GPU mark, tiny models, made-up streams."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from streamvlm.types import Clip, ClockSource, Gap, Interval, StreamTime
from streamvlm.vlm import load
from streamvlm.vlm.qwen import QwenVL

FAMILIES = ("qwen3-vl", "qwen2.5-vl")
FRAME_SECONDS = 0.5
START_UTC = 1_750_000_000.0


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip GPU tests where there is no GPU, unless the machine promises one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        if os.environ.get("FAIL_WITHOUT_CUDA") == "1":
            pytest.fail("FAIL_WITHOUT_CUDA=1, but no CUDA device is available")
        pytest.skip("needs a CUDA device")


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that a test starts keeps its data apart from that of the user."""
    monkeypatch.setenv("STREAMVLM_DATA", str(tmp_path / "data"))


@cache
def tiny_vlm(family: str, dtype: str = "float32", sharpened: bool = False) -> QwenVL:
    """A tiny random model; sharpened attention shows position errors that random weights hide."""
    vlm = load(f"random:{family}-tiny", dtype=dtype, device="cpu")
    if sharpened:
        with torch.no_grad():
            for layer in vlm._text_model.layers:
                attention = layer.self_attn
                if family == "qwen3-vl":
                    for norm in (attention.q_norm, attention.k_norm):
                        norm.weight.mul_(3)
                else:
                    for projection in (attention.q_proj, attention.k_proj):
                        projection.weight.mul_(8)
    return vlm


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each model family in turn."""
    name: str = request.param
    return name


@pytest.fixture
def vlm(family: str) -> QwenVL:
    """A tiny float32 model of each family."""
    return tiny_vlm(family)


def at(pts_seconds: float) -> StreamTime:
    """An instant of a made-up stream."""
    return StreamTime(
        pts_seconds=pts_seconds, utc_seconds=START_UTC + pts_seconds, clock=ClockSource.CLIENT
    )


def make_clip(
    index: int,
    pixels: np.ndarray | None = None,
    *,
    size: tuple[int, int] = (112, 168),
    stream_id: str = "door",
) -> Clip:
    """Clip `index` of a stream sampled at 2 frames a second; noise that depends on the index
    only.
    """
    if pixels is None:
        noise = np.random.default_rng(index)
        pixels = noise.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    start = 2 * index * FRAME_SECONDS
    return Clip(
        stream_id=stream_id,
        clip_index=index,
        pixels=pixels,
        times=(at(start), at(start + FRAME_SECONDS)),
        frame_seconds=FRAME_SECONDS,
    )


def clip_size(vlm: QwenVL, rows: int = 3, columns: int = 4) -> tuple[int, int]:
    """(height, width) in pixels of a picture with this many cells."""
    cell = vlm.patch_spec.rule.cell_pixels
    return rows * cell, columns * cell


def make_gap(start_seconds: float, end_seconds: float, reason: str = "SOURCE_LOST") -> Gap:
    """A blind stretch of a made-up stream."""
    return Gap(interval=Interval(start=at(start_seconds), end=at(end_seconds)), reason=reason)
