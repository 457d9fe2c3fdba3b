"""Optimal transport between rows."""

from __future__ import annotations

import torch

from streamvlm.reduce.transport import transport


def test_where_all_cost_the_same_all_get_the_same() -> None:
    assert torch.allclose(transport(torch.full((4, 2), 0.7)), torch.tensor(1 / 8))


def test_each_source_goes_where_it_is_cheap() -> None:
    plan = transport(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert torch.allclose(plan, torch.eye(2) / 2, atol=1e-4)


def test_each_anchor_takes_the_same_though_one_is_cheaper_for_all() -> None:
    cost = torch.rand(20, 5, generator=torch.Generator().manual_seed(0)).double()
    cost[:, 0] = 0
    assert torch.allclose(transport(cost).sum(dim=0), torch.tensor(1 / 5).double())
