"""Windows of windows, where one level is not enough."""

from __future__ import annotations

import torch
from made_tokens import make_tokens

from streamvlm.reduce import ReductionContext, build_reducer


def test_where_all_windows_are_one_token_their_windows_follow() -> None:
    tokens = make_tokens(torch.eye(81), grid_thw=(1, 9, 9))
    kept = build_reducer({"name": "mustdrop", "keep_ratio": 3 / 81})(tokens, ReductionContext())
    assert kept.indices.tolist() == [40, 67, 70], "the middles of the picture and of two windows"
    assert kept.weight.tolist() == [63, 9, 9]
    assert kept.features[0].count_nonzero() == 63 and kept.features[0].sum() == 1


def test_of_single_cells_pictures_that_follow_each_other_become_one() -> None:
    tokens = make_tokens(torch.eye(4), grid_thw=(4, 1, 1))
    reducer = build_reducer({"name": "mustdrop"})
    assert reducer(tokens, ReductionContext()).indices.tolist() == [3]
    assert reducer(tokens, ReductionContext(max_kept=1)).weight.tolist() == [4]
