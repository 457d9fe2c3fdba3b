"""What every choice of the table promises, and that it is its formula."""

from __future__ import annotations

import pkgutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from importlib import import_module
from typing import get_args

import pytest
import torch
from torch import Tensor

from streamvlm.config import RememberConfig
from streamvlm.remember import choosing
from streamvlm.remember.choosing import CHOICES, Chosen, FoundTokens
from tests.remember.choosing.references import Example, Expected

NUM_HEADS, HEAD_SIZE, NUM_CLIPS = 2, 6, 13
SHARED = {"base", "outliers", "shares"}

every_choice = pytest.mark.parametrize("name", CHOICES)


def noise(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, NUM_HEADS, HEAD_SIZE, generator=generator)


def random(generator: torch.Generator) -> list[Tensor]:
    """Every clip is another picture, of another size."""
    sizes = torch.randint(1, 9, (NUM_CLIPS,), generator=generator).tolist()
    return [noise(generator, size) for size in sizes]


def duplicated(generator: torch.Generator) -> list[Tensor]:
    """In each clip every token is there three times: ties everywhere."""
    return [noise(generator, 2).repeat(3, 1, 1) for _ in range(NUM_CLIPS)]


def frozen(generator: torch.Generator) -> list[Tensor]:
    """One picture, to the bit."""
    return [noise(generator, 6)] * NUM_CLIPS


def drifting(generator: torch.Generator) -> list[Tensor]:
    """One picture becomes another."""
    first, last = noise(generator, 6), noise(generator, 6)
    shares = torch.linspace(0, 1, NUM_CLIPS).tolist()
    return [(1 - s) * first + s * last + 0.05 * noise(generator, 6) for s in shares]


def zero(_: torch.Generator) -> list[Tensor]:
    """Nothing to go by."""
    return [torch.zeros(5, NUM_HEADS, HEAD_SIZE)] * NUM_CLIPS


def single(generator: torch.Generator) -> list[Tensor]:
    return [noise(generator, 1)]


def none(_: torch.Generator) -> list[Tensor]:
    return []


INPUTS = {each.__name__: each for each in (random, duplicated, frozen, drifting, zero)}
TINY = {each.__name__: each for each in (single, none)}


def found_in(make: Callable[[torch.Generator], list[Tensor]], seed: int = 1) -> FoundTokens:
    """Every third clip has no text around it."""
    generator = torch.Generator().manual_seed(seed)
    clips = make(generator)
    return FoundTokens(
        keys=torch.cat([*clips, torch.empty(0, NUM_HEADS, HEAD_SIZE)]),
        probe=noise(generator).flatten(),
        clips=torch.repeat_interleave(torch.tensor([len(clip) for clip in clips]).long()),
        num_text=torch.tensor([number % 3 for number in range(len(clips))]).long(),
    )


def cost(found: FoundTokens, rows: Tensor) -> int:
    return len(rows) + int(found.num_text[found.clips[rows].unique()].sum())


def means_in(chosen: Chosen) -> dict[int, dict[int, float]]:
    means: dict[int, dict[int, float]] = defaultdict(dict)
    if chosen.joined is not None:
        joined = chosen.joined
        for row, into, share in zip(
            joined.rows.tolist(), joined.into.tolist(), joined.shares.tolist(), strict=True
        ):
            means[into][row] = share
    return means


@every_choice
@pytest.mark.parametrize("kind", [*INPUTS, *TINY])
@pytest.mark.parametrize("max_tokens", [1, 2, 3, 7, 20, 60])
def test_real_tokens_come_back_within_the_budget(name: str, kind: str, max_tokens: int) -> None:
    found = found_in({**INPUTS, **TINY}[kind])
    before = found.keys.clone(), found.probe.clone()
    chosen = CHOICES[name]()(found, max_tokens)
    rows = chosen.rows
    assert rows.dtype == torch.int64 and len(rows.unique()) == len(rows)
    assert ((rows >= 0) & (rows < len(found))).all()
    assert cost(found, rows) <= max_tokens
    # Each clip but every third has text, two tokens at most.
    assert len(rows) or max_tokens < 3 or not len(found)
    for into, shares in means_in(chosen).items():
        assert into in rows.tolist() and into in shares
        assert {int(found.clips[row]) for row in shares} == {int(found.clips[into])}
        assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0
    assert torch.equal(found.keys, before[0]) and torch.equal(found.probe, before[1])


@every_choice
@pytest.mark.parametrize("kind", INPUTS)
def test_the_same_comes_back_again(name: str, kind: str) -> None:
    found = found_in(INPUTS[kind])
    first, second = (CHOICES[name]()(found, 30) for _ in range(2))
    assert first.rows.tolist() == second.rows.tolist()
    assert means_in(first) == means_in(second)


@every_choice
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("max_tokens", [4, 11, 25, 50])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_its_formula(name: str, kind: str, max_tokens: int, seed: int) -> None:
    found = found_in(INPUTS[kind], seed)
    reference = import_module(f"tests.remember.choosing.references.{name}").reference
    expected: Expected = reference(found, max_tokens)
    chosen = CHOICES[name]()(found, max_tokens)
    assert set(chosen.rows.tolist()) == expected.rows
    means = means_in(chosen)
    assert means.keys() == expected.means.keys()
    for into, shares in expected.means.items():
        # A hundredth of temperature makes a thousandth of what is rounding before.
        assert means[into] == pytest.approx(shares, abs=1e-4)


@every_choice
def test_five_tokens(name: str) -> None:
    example: Example = import_module(f"tests.remember.choosing.references.{name}").EXAMPLE
    assert len(example.keys) == 5
    chosen = CHOICES[name]()(example.found, example.max_tokens)
    assert set(chosen.rows.tolist()) == example.rows


@every_choice
def test_it_says_where_it_comes_from_and_cannot_be_changed(name: str) -> None:
    choice = CHOICES[name]()
    assert choice.about.title and choice.about.cost
    for setting in fields(choice):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(choice, setting.name, 0)


def test_every_file_is_in_the_table_and_the_config_knows_all() -> None:
    files = {each.name for each in pkgutil.iter_modules(choosing.__path__)}
    assert files - SHARED == set(CHOICES)
    assert get_args(RememberConfig.model_fields["recall_choice"].annotation) == tuple(CHOICES)
