"""The attention that tokens receive, against a plain softmax of what the tower's own hooks see."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from streamvlm.encode import Encoder, preprocess
from streamvlm.types import Clip, Signal
from streamvlm.vlm import load
from streamvlm.vlm import packed_attention as packed
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.salience import last_full_attention
from tests.conftest import clip_size, make_clip

SALIENCE: frozenset[Signal] = frozenset({"salience"})


@cache
def sharp_vlm(family: str) -> QwenVL:
    """A tiny random model whose tower attends to some patches much more than to others."""
    vlm: QwenVL = load(f"random:{family}-tiny", dtype="float32", device="cpu")
    with torch.no_grad():
        last_full_attention(vlm._vision).qkv.weight.mul_(20)
    return vlm


@pytest.fixture
def vlm(family: str) -> QwenVL:
    return sharp_vlm(family)


def encoded(vlm: QwenVL, clips: list[Clip], **settings: Any) -> list[Any]:
    return Encoder(tower=vlm, max_batch_clips=8, **settings).encode(clips)


def plain_received(vlm: QwenVL, clip: Clip) -> Tensor:
    """float [N], of a clip alone: queries and keys as the last whole-picture layer is given them,
    turned by their positions, one plain softmax; patches put back in order by their cells.
    """
    vision, attention = vlm._vision, last_full_attention(vlm._vision)
    seen: dict[str, Any] = {}
    hooks = [
        attention.qkv.register_forward_hook(lambda _m, _i, out: seen.update(qkv=out)),
        attention.register_forward_pre_hook(
            lambda _m, _args, kwargs: seen.update(rotary=kwargs["position_embeddings"]),
            with_kwargs=True,
        ),
    ]
    pixels = torch.from_numpy(clip.pixels.copy())[None]
    patches, grid = preprocess(pixels, vlm.patch_spec, vlm.device)
    vision.config._attn_implementation = "sdpa"
    try:
        vlm.encode(patches, [grid])
    finally:
        vision.config._attn_implementation = packed.PACKED_ATTENTION
        for hook in hooks:
            hook.remove()
    heads = vision.config.num_heads
    query, key, _ = seen["qkv"].view(len(patches), 3, heads, -1).unbind(1)  # [P,H,E]
    cos, sin = (each[:, None] for each in seen["rotary"])

    def turned(rows: Tensor) -> Tensor:
        half = rows.shape[-1] // 2
        return rows * cos + torch.cat([-rows[..., half:], rows[..., :half]], dim=-1) * sin

    scores = torch.einsum("phe,qhe->hpq", turned(query), turned(key)) / query.shape[-1] ** 0.5
    received = scores.softmax(dim=-1).mean(dim=(0, 1))  # [P], as the tower orders its patches
    tokens = received.view(-1, vlm.patch_spec.merge_size**2).sum(dim=1)
    return tokens[order_of_windows(vlm, grid).argsort()]


def order_of_windows(vlm: QwenVL, grid: tuple[int, int, int]) -> Tensor:
    """int64 [N]: the tokens of a picture in the order in which the tower works on them, which is
    window by window where it has windows.
    """
    _, rows, columns = (size // vlm.patch_spec.merge_size for size in grid)
    if not hasattr(vlm._vision, "window_size"):
        return torch.arange(rows * columns)
    side = vlm._vision.window_size // vlm.patch_spec.rule.cell_pixels
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    cells.sort(key=lambda cell: (cell[0] // side, cell[1] // side, *cell))
    return torch.tensor([row * columns + column for row, column in cells])


@pytest.mark.parametrize("shape", [(3, 4), (5, 7), (9, 2)])
def test_it_is_a_plain_softmax_of_the_towers_queries_and_keys(
    family: str, shape: tuple[int, int]
) -> None:
    vlm = sharp_vlm(family)
    clips = [make_clip(index, size=clip_size(vlm, *shape)) for index in range(3)]
    for clip, tokens in zip(clips, encoded(vlm, clips, signals=SALIENCE), strict=True):
        expected = plain_received(vlm, clip)
        assert expected.std() > 0.1 * expected.mean(), "else their order would not show"
        assert torch.allclose(tokens.salience, expected, atol=1e-6, rtol=1e-4)
        assert abs(float(tokens.salience.sum()) - 1) < 1e-5


def test_clips_of_many_sizes_in_one_forward(vlm: QwenVL, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where few scores are looked at together."""
    shapes = [(3, 4), (5, 7), (3, 4)]
    clips = [make_clip(i, size=clip_size(vlm, *shape)) for i, shape in enumerate(shapes)]
    made = [
        preprocess(torch.from_numpy(clip.pixels.copy())[None], vlm.patch_spec) for clip in clips
    ]
    monkeypatch.setattr(packed, "_MOST_SCORES", 1000)
    _, _, told = vlm.encode_with_signals(
        torch.cat([patches for patches, _ in made]), [grid for _, grid in made], SALIENCE
    )
    for clip, own in zip(clips, told["salience"].split([12, 35, 12]), strict=True):
        assert torch.allclose(own, plain_received(vlm, clip), atol=1e-6, rtol=1e-4)


def test_asking_changes_no_other_number(vlm: QwenVL) -> None:
    clips = [make_clip(index, size=clip_size(vlm)) for index in range(3)]
    asked, plain = encoded(vlm, clips, signals=SALIENCE), encoded(vlm, clips)
    for one, other in zip(asked, plain, strict=True):
        assert torch.equal(one.features, other.features) and one.features.is_contiguous()
        assert (one.deepstack is None) is (other.deepstack is None)
        assert one.deepstack is None or torch.equal(one.deepstack, other.deepstack)
        assert other.salience is None


def test_nothing_is_computed_where_nobody_asks(
    vlm: QwenVL, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = packed._received

    def counted(*arguments: Any) -> Tensor:
        calls.append(1)
        return original(*arguments)

    monkeypatch.setattr(packed, "_received", counted)
    clips = [make_clip(index, size=clip_size(vlm)) for index in range(4)]
    encoded(vlm, clips)
    assert not calls
    encoded(vlm, clips, signals=SALIENCE)
    assert len(calls) == 1, "one layer, all clips together"
    encoded(vlm, clips)
    assert len(calls) == 1 and not packed._asked


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_it_is_exact_beside_numbers_of_any_width(family: str, dtype: str) -> None:
    vlm = load(f"random:{family}-tiny", dtype=dtype, device="cpu")
    (tokens,) = encoded(vlm, [make_clip(0, size=clip_size(vlm))], signals=SALIENCE)
    assert tokens.features.dtype == getattr(torch, dtype)
    assert tokens.salience.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert abs(float(tokens.salience.sum()) - 1) < 1e-6
