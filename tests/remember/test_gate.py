"""What stands out, by figures worked out by hand."""

from __future__ import annotations

import pytest
import torch

from streamvlm.remember.gate import MIN_BLOCKS, standing


def test_it_is_in_deviations_above_the_median() -> None:
    scores = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8, 100])  # median 5, distances' median 2
    assert standing(scores, 100.0) == pytest.approx(95 / (1.4826 * 2))
    assert standing(scores, 5.0) == 0
    assert standing(scores, 1.0) < 0


def test_where_all_scores_are_the_same_anything_above_stands_out() -> None:
    scores = torch.ones(20)
    assert standing(scores, 1.0) == 0
    assert standing(scores, 1.001) == float("inf")


def test_of_few_blocks_nothing_usual_can_be_said() -> None:
    scores = torch.arange(float(MIN_BLOCKS))
    assert standing(scores[:-1], 0.0) == float("inf")
    assert standing(scores, 0.0) < 0
