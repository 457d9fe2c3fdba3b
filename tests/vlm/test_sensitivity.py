"""How far features move with their patches, against the published estimator written plainly."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from streamvlm.encode import Encoder, preprocess
from streamvlm.types import Clip, Signal, VisualTokens
from streamvlm.vlm import load
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip
from tests.vlm.test_salience import order_of_windows, sharp_vlm

SENSITIVITY: frozenset[Signal] = frozenset({"sensitivity"})
BOTH: frozenset[Signal] = frozenset({"salience", "sensitivity"})


def encoded(
    vlm: QwenVL, clips: list[Clip], signals: frozenset[Signal] = frozenset()
) -> list[VisualTokens]:
    return Encoder(tower=vlm, max_batch_clips=8, signals=signals).encode(clips)


def plain_sensitivity(vlm: QwenVL, clip: Clip, merger: Any) -> Tensor:
    """float [N] of a clip alone, token by token, in the numbers of `merger`."""
    seen: list[Tensor] = []
    hook = vlm._vision.merger.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    patches, grid = preprocess(torch.from_numpy(clip.pixels.copy())[None], vlm.patch_spec)
    vlm.encode(patches, [grid])
    hook.remove()
    dtype = next(merger.parameters()).dtype
    size = vlm.patch_spec.merge_size**2 * seen[0].shape[1]
    draws = torch.randn(64, size, generator=torch.Generator().manual_seed(0)).to(dtype)
    sensitivities = []
    for token in seen[0].to(dtype).split(vlm.patch_spec.merge_size**2):
        total = 0.0
        for draw in draws:
            step = 0.01 * (draw / draw.norm()).view_as(token)
            total += float((merger(token + step) - merger(token - step)).norm()) / 0.02
        sensitivities.append(total / 64)
    return torch.tensor(sensitivities)[order_of_windows(vlm, grid).argsort()]


def test_it_is_the_plain_estimator_at_the_unmodified_merger(family: str) -> None:
    vlm = sharp_vlm(family)
    clips = [make_clip(index, size=clip_size(vlm, 5, 7)) for index in range(2)]
    for clip, tokens in zip(clips, encoded(vlm, clips, SENSITIVITY), strict=True):
        expected = plain_sensitivity(vlm, clip, vlm._vision.merger)
        assert tokens.sensitivity is not None and tokens.salience is None
        assert expected.std() > 0.01 * expected.mean(), "else their order would not show"
        assert torch.allclose(tokens.sensitivity, expected, rtol=1e-3)


def test_asking_changes_no_other_number(family: str) -> None:
    vlm = sharp_vlm(family)
    clips = [make_clip(index, size=clip_size(vlm)) for index in range(3)]
    plain, salient = encoded(vlm, clips), encoded(vlm, clips, frozenset({"salience"}))
    sensitive, both = encoded(vlm, clips, SENSITIVITY), encoded(vlm, clips, BOTH)
    for index, tokens in enumerate(both):
        assert torch.equal(tokens.features, plain[index].features)
        assert torch.equal(sensitive[index].features, plain[index].features)
        assert torch.equal(told(tokens.salience), told(salient[index].salience))
        assert torch.equal(told(tokens.sensitivity), told(sensitive[index].sensitivity))


def told(values: Tensor | None) -> Tensor:
    assert values is not None
    return values


def test_nothing_is_computed_where_nobody_asks(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm, calls = sharp_vlm(family), []
    original = type(vlm._vision.merger).forward

    def counted(merger: Any, patches: Tensor) -> Tensor:
        calls.append(1)
        out: Tensor = original(merger, patches)
        return out

    clips = [make_clip(index, size=clip_size(vlm)) for index in range(4)]
    encoded(vlm, clips, frozenset({"salience"}))
    monkeypatch.setattr(type(vlm._vision.merger), "forward", counted)
    encoded(vlm, clips)
    unasked = len(calls)
    encoded(vlm, clips, SENSITIVITY)
    assert len(calls) - 2 * unasked == 2 * 64, "all clips together"
    encoded(vlm, clips)
    assert len(calls) - 3 * unasked == 2 * 64 and not vlm._vision.merger._forward_hooks


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_small_steps_are_not_rounded_away(family: str, dtype: str) -> None:
    vlm = load(f"random:{family}-tiny", dtype=dtype, device="cpu")
    clip = make_clip(0, size=clip_size(vlm))
    (tokens,) = encoded(vlm, [clip], SENSITIVITY)
    expected = plain_sensitivity(vlm, clip, deepcopy(vlm._vision.merger).double())
    assert tokens.features.dtype == getattr(torch, dtype)
    assert told(tokens.sensitivity).dtype == (
        torch.float64 if dtype == "float64" else torch.float32
    )
    assert torch.allclose(told(tokens.sensitivity).float(), expected, rtol=1e-3)
