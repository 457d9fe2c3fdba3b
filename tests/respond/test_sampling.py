"""Tokens from logits."""

from __future__ import annotations

import torch

from streamvlm.respond.sampling import choose
from streamvlm.types import Sampling

LOGITS = torch.tensor([0.0, 3.0, 2.0, -1.0]).log_softmax(0)


def drawn(sampling: Sampling, count: int = 2000) -> list[int]:
    generator = torch.Generator().manual_seed(sampling.seed)
    return [choose(LOGITS, sampling, generator) for _ in range(count)]


def test_temperature_zero_takes_the_best() -> None:
    assert set(drawn(Sampling(temperature=0.0), 5)) == {1}


def test_the_same_seed_draws_the_same() -> None:
    sampling = Sampling(temperature=1.0, seed=7)
    assert drawn(sampling, 50) == drawn(sampling, 50)
    assert drawn(sampling, 50) != drawn(Sampling(temperature=1.0, seed=8), 50)


def test_draws_follow_the_probabilities() -> None:
    tokens = torch.tensor(drawn(Sampling(temperature=1.0)))
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    assert torch.allclose(shares, LOGITS.exp(), atol=0.04)


def test_top_p_leaves_the_fewest_that_reach_it() -> None:
    assert set(drawn(Sampling(temperature=1.0, top_p=0.5))) == {1}
    assert set(drawn(Sampling(temperature=1.0, top_p=0.9))) == {1, 2}
    assert set(drawn(Sampling(temperature=1.0, top_p=1e-9))) == {1}
    assert set(drawn(Sampling(temperature=1.0, top_p=1e-300))) == {1}


def test_high_temperature_flattens() -> None:
    assert set(drawn(Sampling(temperature=10.0))) == {0, 1, 2, 3}
