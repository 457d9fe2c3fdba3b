"""Squares of several pictures: what the formula of `references.sttm` does not show."""

from __future__ import annotations

import torch
from made_tokens import make_tokens

from streamvlm.reduce import ReductionContext, build_reducer, reduce_clip
from streamvlm.types import KeptTokens, VisualTokens

RIGHT, UP, NEARLY_RIGHT = [1.0, 0.0], [0.0, 1.0], [0.8, 0.6]


def two_pictures() -> VisualTokens:
    """One square; then one of four cells is another."""
    second = [NEARLY_RIGHT, NEARLY_RIGHT, UP, NEARLY_RIGHT]
    return make_tokens(torch.tensor([RIGHT] * 4 + second), grid_thw=(2, 2, 2))


def kept_of(tokens: VisualTokens, context: ReductionContext) -> tuple[KeptTokens, ReductionContext]:
    return reduce_clip(build_reducer({"name": "sttm", "similarity": 0.7}), tokens, context)


def test_a_mean_is_of_squares_and_stands_where_the_first_of_them_stood() -> None:
    kept, _ = kept_of(two_pictures(), ReductionContext())
    assert kept.indices.tolist() == [0, 6]
    assert kept.weight.tolist() == [7, 1]
    squares = torch.tensor([RIGHT, NEARLY_RIGHT, NEARLY_RIGHT, NEARLY_RIGHT])
    assert torch.allclose(kept.features, torch.stack([squares.mean(dim=0), torch.tensor(UP)]))


def test_a_cell_that_goes_on_is_left_to_the_clip_before() -> None:
    _, context = kept_of(two_pictures(), ReductionContext())
    again = make_tokens(torch.tensor([UP, RIGHT, UP, RIGHT]), grid_thw=(1, 2, 2))
    kept, context = kept_of(again, context)
    assert kept.indices.tolist() == [0]
    wider = make_tokens(torch.tensor([UP] * 3), grid_thw=(1, 1, 3))
    assert kept_of(wider, context)[0].weight.tolist() == [3], "another size starts anew"


def test_of_a_clip_of_which_some_is_lost_nothing_is_joined() -> None:
    context = ReductionContext(max_kept=1)
    pictures = make_tokens(torch.tensor([RIGHT, UP]), grid_thw=(2, 1, 1))
    kept, context = kept_of(pictures, context)
    assert kept.indices.tolist() == [0]
    assert kept_of(make_tokens([UP]), context)[0].indices.tolist() == [0]
