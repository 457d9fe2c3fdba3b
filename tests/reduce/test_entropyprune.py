"""Matrix entropy as the authors' code has it, and what is no entropy about it."""

from __future__ import annotations

import pytest
import torch
from references.entropyprune import entropy_of
from torch import Tensor

from streamvlm.reduce.strategies.entropyprune import EntropyPrune


def noise(seed: int) -> Tensor:
    return torch.randn(24, 12, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("trace_normalise", [True, False])
def test_both_gram_matrices_say_the_same(trace_normalise: bool) -> None:
    rows = noise(0)
    reducer = EntropyPrune(num_heads=4, trace_normalise=trace_normalise)
    expected = [entropy_of(row, 4, trace_normalise=trace_normalise) for row in rows]
    assert reducer.entropies(rows).tolist() == pytest.approx(expected, abs=1e-7)


def test_an_entropy_does_not_go_by_size() -> None:
    rows = noise(1)
    scaled, plain = EntropyPrune(), EntropyPrune(trace_normalise=False)
    assert torch.allclose(scaled.entropies(rows), scaled.entropies(3 * rows))
    assert (plain.entropies(3 * rows) < plain.entropies(rows)).all()


def test_no_more_heads_than_divide_a_feature() -> None:
    rows = noise(2)
    assert torch.equal(
        EntropyPrune(num_heads=8).entropies(rows), EntropyPrune(num_heads=4).entropies(rows)
    )
