"""What FoPru keeps by token, and where a row of cells is more than may stay."""

from __future__ import annotations

from dataclasses import replace

import torch
from made_tokens import make_tokens

from streamvlm.reduce import ReductionContext, build_reducer

CLIP = replace(
    make_tokens(torch.eye(6), grid_thw=(1, 2, 3)),
    salience=torch.tensor([0.9, 0.1, 0.1, 0.3, 0.5, 0.4]),
)


def kept(max_kept: int | None = None, **settings: object) -> list[int]:
    reducer = build_reducer({"name": "fopru", "keep_ratio": 0.5, **settings})
    rows: list[int] = reducer(CLIP, ReductionContext(max_kept=max_kept)).indices.tolist()
    return rows


def test_the_most_attended_row_stays_whole_though_another_has_the_most_attended_token() -> None:
    assert kept() == [3, 4, 5]
    assert kept(unit="token") == [0, 4, 5]


def test_a_cap_below_a_row_keeps_its_best_tokens() -> None:
    assert kept(max_kept=2) == [4, 5]
