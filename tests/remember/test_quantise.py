"""Fewer bits: the error stays within its bound, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from streamvlm.remember.quantise import FORMS, Form, QuantisedKV, restored, shrunk
from streamvlm.types import RawKV
from streamvlm.vlm.positions import text_positions

CPU = torch.device("cpu")
L, G, S, E = 3, 2, 17, 8


def made(dtype: torch.dtype = torch.float32, num_tokens: int = S) -> RawKV:
    """Random, with a channel of outliers in the keys as real ones have."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(L, G, num_tokens, E, generator=generator)
    keys[..., 3] += 40
    values = torch.randn(L, G, num_tokens, E, generator=generator)
    return RawKV(
        keys=keys.to(dtype), values=values.to(dtype), positions=text_positions(5, num_tokens)
    )


def half_step(numbers: Tensor, group_dim: int, form: Form) -> Tensor:
    low, high = numbers.double().aminmax(dim=group_dim, keepdim=True)
    return (high - low) / ({"int8": 255, "int4": 15}[form] * 2)


def quantised(kv: RawKV | QuantisedKV, form: Form) -> QuantisedKV:
    smaller = shrunk(kv, form)
    assert isinstance(smaller, QuantisedKV) and smaller.form == form
    return smaller


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", ["int8", "int4"])
def test_each_number_is_within_half_a_step(form: Form, dtype: torch.dtype) -> None:
    kv = made(dtype)
    again = restored(quantised(kv, form), CPU)
    assert again.keys.dtype is again.values.dtype is dtype
    assert torch.equal(again.positions, kv.positions)
    rounding = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    for before, after, group_dim in ((kv.keys, again.keys, 2), (kv.values, again.values, 3)):
        error = (after.double() - before.double()).abs()
        bound = half_step(before, group_dim, form) + 2 * rounding * before.double().abs().amax()
        assert bool((error <= bound).all())
        assert float(error.max()) > 0.2 * float(half_step(before, group_dim, form).min())


def test_a_key_channel_of_outliers_costs_the_others_nothing() -> None:
    kv = made()
    calm = RawKV(keys=kv.keys.clone(), values=kv.values, positions=kv.positions)
    calm.keys[..., 3] = 0
    others = [channel for channel in range(E) if channel != 3]
    one, two = (restored(quantised(each, "int4"), CPU).keys[..., others] for each in (kv, calm))
    assert torch.equal(one, two)


def test_int4_from_int8_is_within_half_a_step_of_both() -> None:
    kv = made()
    again = restored(quantised(quantised(kv, "int8"), "int4"), CPU)
    for before, after, group_dim in ((kv.keys, again.keys, 2), (kv.values, again.values, 3)):
        bound = 1.01 * (half_step(before, group_dim, "int8") + half_step(before, group_dim, "int4"))
        assert bool(((after - before).abs() <= bound).all())


def test_nothing_is_made_finer_or_coarser_than_it_must_be() -> None:
    kv = made()
    for number, form in enumerate(FORMS):
        held = shrunk(kv, form)
        for finer in FORMS[: number + 1]:
            assert shrunk(held, finer) is held


@pytest.mark.parametrize(("form", "most"), [("int8", 0.6), ("int4", 0.35)])
def test_bytes_are_what_the_tensors_take(form: Form, most: float) -> None:
    kv = RawKV(
        keys=torch.randn(2, 2, 128, 128, dtype=torch.bfloat16),
        values=torch.randn(2, 2, 128, 128, dtype=torch.bfloat16),
        positions=text_positions(0, 128),
    )
    smaller = quantised(kv, form)
    codes = 2 * kv.keys.numel() * {"int8": 8, "int4": 4}[form] // 8
    grids = 4 * 2 * (2 * 2 * 128 + 2 * 2 * 128)
    assert smaller.num_bytes == codes + grids + 128 * 3 * 8
    assert smaller.num_bytes < most * kv.num_bytes


@pytest.mark.parametrize("form", ["int8", "int4"])
def test_equal_numbers_come_back_as_they_are(form: Form) -> None:
    kv = made(num_tokens=1)
    flat = RawKV(keys=kv.keys, values=torch.full_like(kv.values, 1.5), positions=kv.positions)
    again = restored(quantised(flat, form), CPU)
    assert torch.equal(again.keys, flat.keys) and torch.equal(again.values, flat.values)
