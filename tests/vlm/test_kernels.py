"""Every fused kernel is its plain form, on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from streamvlm.types import RawKV
from streamvlm.vlm.kernels import kernels_for, plain
from streamvlm.vlm.kernels.places import COLUMNS, Frequencies, Norms, Places, Raw

LAYERS, GROUPS, HEADS, SIZE = 3, 2, 6, 32
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Of the norm of the difference by that of what is expected: a rounding more or less."""
MANY = [([100], 1), ([0, 70, 300], 1), ([130], 11), ([90], 40), ([500], 200), ([60, 9], 5)]
"""Tokens that contexts hold, and tokens that join each."""

Drawn = Callable[..., Tensor]


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    kind: torch.dtype = request.param
    return kind


@pytest.fixture
def drawn(dtype: torch.dtype) -> Drawn:
    generator = torch.Generator("cuda").manual_seed(0)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, device="cuda").to(dtype)

    return draw


def same(got: Tensor, expected: Tensor) -> bool:
    difference = float((got.float() - expected.float()).norm())
    return difference <= TOLERANCE[got.dtype] * float(expected.float().norm())


def angles(drawn: Drawn, *sizes: int) -> tuple[Tensor, Tensor]:
    half = drawn(*sizes, SIZE // 2).float()
    both = torch.cat([half, half], dim=-1)
    return both.cos().to(drawn(1).dtype), both.sin().to(drawn(1).dtype)


@pytest.mark.gpu
def test_angles(drawn: Drawn) -> None:
    positions = torch.randint(0, 200_000, (70, 3))
    frequencies = Frequencies(
        inverse=1.0 / 10_000 ** torch.linspace(0, 1, SIZE // 2, device="cuda"),
        axes=torch.arange(SIZE // 2, device="cuda") % 3,
        scaling=1.5,
    )
    fused = kernels_for(torch.device("cuda"), SIZE)
    both = (each.angles(positions, frequencies, drawn(1)) for each in (fused, plain))
    assert all(same(got, expected) for got, expected in zip(*both, strict=True))


@pytest.mark.gpu
def test_gather(drawn: Drawn) -> None:
    wide = drawn(2, LAYERS, GROUPS, 50, SIZE)
    apart = drawn(LAYERS, 30, GROUPS, SIZE).transpose(1, 2), drawn(LAYERS, GROUPS, 30, SIZE)
    pairs = [tuple(drawn(2, LAYERS, GROUPS, number, SIZE)) for number in (5, 40, 33)]
    pairs += [(wide[0, :, :, 3:20], wide[1, :, :, 3:20]), apart]
    spans = [
        RawKV(keys=keys, values=values, positions=torch.zeros(keys.shape[2], 3).long())
        for keys, values in pairs
    ]
    number = sum(map(len, spans))
    cos, sin = angles(drawn, number)
    into = torch.full((4, LAYERS, GROUPS, number + 7, SIZE), 9.0, device="cuda").to(cos.dtype)
    kernels_for(torch.device("cuda"), SIZE).gather(spans, into[0], into[1], cos, sin)
    plain.gather(spans, into[2], into[3], cos, sin)
    assert same(into[0], into[2]) and torch.equal(into[1], into[3])
    assert bool((into[:, :, :, number:] == 9.0).all()), "wrote behind the end"


@pytest.mark.gpu
def test_norms_and_gates(drawn: Drawn) -> None:
    fused = kernels_for(torch.device("cuda"), SIZE)
    x, change, weight = drawn(7, 96), drawn(7, 96), drawn(96)
    assert same(fused.norm(x, weight, 1e-6), plain.norm(x, weight, 1e-6))
    both = fused.add_norm(x, change, weight, 1e-6), plain.add_norm(x, change, weight, 1e-6)
    assert all(same(got, expected) for got, expected in zip(*both, strict=True))
    assert same(fused.gated(x), plain.gated(x))


def contexts(drawn: Drawn, starts: list[int]) -> list[tuple[Tensor, Tensor]]:
    sizes = [(LAYERS, GROUPS, start + 256, SIZE) for start in starts]
    return [(drawn(*each), drawn(*each)) for each in sizes]


def places_of(buffers: list[tuple[Tensor, Tensor]], starts: list[int], count: int) -> Places:
    """One more than there are contexts."""
    rows = torch.zeros(len(buffers) + 1, len(COLUMNS), dtype=torch.int64, device="cuda")
    anchor = torch.zeros(64, dtype=buffers[0][0].dtype, device="cuda")
    places = Places(rows=rows, anchor=anchor, num_groups=GROUPS, buffers=buffers)
    rows.copy_(places.rows_of(buffers, starts, count))
    return places


@pytest.mark.gpu
@pytest.mark.parametrize("has_norms", [False, True])
@pytest.mark.parametrize(("starts", "count"), MANY, ids=str)
def test_join_and_attend(drawn: Drawn, starts: list[int], count: int, has_norms: bool) -> None:
    batch, num_tokens = len(starts) + 1, count + 5 * (count > 1)
    states = drawn(batch, num_tokens, HEADS + 2 * GROUPS, SIZE)
    cos, sin = angles(drawn, batch, num_tokens)
    norms = Norms(query=drawn(SIZE), key=drawn(SIZE), eps=1e-6) if has_norms else None
    both = [contexts(drawn, starts)]
    both.append([(keys.clone(), values.clone()) for keys, values in both[0]])
    outcomes = []
    for operations, buffers in zip((kernels_for(states.device, SIZE), plain), both, strict=True):
        places = places_of(buffers, starts, count)
        raw = Raw(
            keys=torch.zeros_like(states[:, :, :GROUPS]).contiguous(),
            last_queries=torch.zeros_like(states[:, 0, :HEADS]).contiguous(),
            queries=torch.zeros_like(states[:, :, :HEADS]).contiguous(),
        )
        turned = operations.join(states, cos, sin, places, 1, raw, norms)
        attended = operations.attend(turned, places, 1, SIZE**-0.5)
        told = [raw.last_queries[: len(starts)], *(each for pair in buffers for each in pair)]
        for tensor in (turned, attended, raw.keys, raw.queries):
            told += [tensor[row, :count] for row in range(len(starts))]
        outcomes.append(told)
    assert all(same(got, expected) for got, expected in zip(*outcomes, strict=True))


@pytest.mark.gpu
def test_a_context_attends_alone_as_in_any_company_bit_for_bit(drawn: Drawn) -> None:
    """I11."""
    fused, starts = kernels_for(torch.device("cuda"), SIZE), [17, 300, 64, 1, 129]
    buffers, query = contexts(drawn, starts), drawn(6, 1, HEADS, SIZE)
    together = fused.attend(query, places_of(buffers, starts, 1), 1, 0.2)
    for row, (own, start) in enumerate(zip(buffers, starts, strict=True)):
        pair = query[row : row + 1].expand(2, -1, -1, -1).contiguous()
        alone = fused.attend(pair, places_of([own], [start], 1), 1, 0.2)
        assert torch.equal(alone[0], together[row])
