"""What a block is found by."""

from __future__ import annotations

import pytest
import torch

from streamvlm.remember.summary import farthest_points, summarise
from streamvlm.types import Summary

ALL = torch.ones(9, dtype=torch.bool)


def keys(num_tokens: int = 9) -> torch.Tensor:
    return torch.randn(num_tokens, 2, 3, generator=torch.Generator().manual_seed(0))


def test_it_is_of_the_visual_tokens_and_names_them() -> None:
    is_visual = torch.tensor([0, 0, 1, 1, 1, 0, 1, 1, 1], dtype=torch.bool)
    summary = summarise(keys(), is_visual)
    visual = keys()[is_visual]
    torch.testing.assert_close(summary.mean, visual.mean(0))
    assert torch.equal(summary.low, visual.min(0).values)
    assert torch.equal(summary.high, visual.max(0).values)
    assert len(set(summary.tokens.tolist())) == 4
    assert bool(is_visual[summary.tokens].all())
    assert torch.equal(summary.keys, keys()[summary.tokens])


def test_a_block_of_text_alone_is_found_by_its_text() -> None:
    torch.testing.assert_close(summarise(keys(), ~ALL).mean, keys().mean(0))


def test_each_point_is_the_farthest_from_those_before() -> None:
    points = torch.tensor([[0.0], [10.0], [4.0], [-6.0], [9.0]])
    assert farthest_points(points, torch.tensor([1.0]), 3).tolist() == [1, 3, 2]


def test_of_two_as_far_the_lower_row_goes_first() -> None:
    points = torch.tensor([[2.0], [-2.0], [2.0]])
    assert farthest_points(points, torch.tensor([0.0]), 2).tolist() == [0, 1]


def test_what_is_there_already_is_not_taken_again() -> None:
    assert farthest_points(torch.ones(5, 2), torch.ones(2), 4).tolist() == [0]
    assert len(summarise(keys(1), ALL[:1]).tokens) == 1


def test_parts_that_do_not_fit_are_refused() -> None:
    whole = summarise(keys(), ALL)
    with pytest.raises(ValueError, match=r"Summary.keys must have shape \[3, 2, 3\]"):
        Summary(
            mean=whole.mean,
            low=whole.low,
            high=whole.high,
            keys=whole.keys,
            tokens=whole.tokens[:3],
        )
