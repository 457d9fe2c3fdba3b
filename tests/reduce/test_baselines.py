"""The strategies without memory: all, uniform, random."""

from __future__ import annotations

import pytest
import torch
from made_tokens import make_tokens, reduce_stream

from streamvlm.reduce import ReductionContext, build_reducer

FIVE = make_tokens(torch.arange(10.0).view(5, 2), deepstack=torch.arange(20.0).view(2, 5, 2))


def test_all_is_the_identity() -> None:
    kept = build_reducer({"name": "all"})(FIVE, ReductionContext())
    assert FIVE.deepstack is not None and kept.deepstack is not None
    for ours, theirs in [
        (kept.features, FIVE.features),
        (kept.cells, FIVE.cells),
        (kept.deepstack, FIVE.deepstack),
        (kept.indices, torch.arange(5)),
        (kept.weight, torch.ones(5)),
    ]:
        assert torch.equal(ours, theirs)
    assert (kept.grid_thw, kept.interval) == (FIVE.grid_thw, FIVE.interval)


@pytest.mark.parametrize(
    ("keep_ratio", "rows"),
    [(0.2, [2]), (0.4, [1, 3]), (0.5, [0, 2, 4]), (0.6, [0, 2, 4]), (1.0, [0, 1, 2, 3, 4])],
)
def test_uniform_takes_the_middles_of_equal_stretches(keep_ratio: float, rows: list[int]) -> None:
    reducer = build_reducer({"name": "uniform", "keep_ratio": keep_ratio})
    assert reducer(FIVE, ReductionContext()).indices.tolist() == rows


def test_random_draws_anew_for_every_clip_and_alike_for_the_same_one() -> None:
    reducer = build_reducer({"name": "random", "keep_ratio": 0.4, "seed": 7})
    draws = reduce_stream(reducer, [FIVE] * 40)
    assert draws == reduce_stream(reducer, [FIVE] * 40)
    assert {len(rows) for rows in draws} == {2}
    assert {row for rows in draws for row in rows} == {0, 1, 2, 3, 4}
    other_seed = build_reducer({"name": "random", "keep_ratio": 0.4, "seed": 8})
    assert reduce_stream(other_seed, [FIVE] * 40) != draws


def test_random_draws_do_not_depend_on_what_was_drawn_before() -> None:
    reducer = build_reducer({"name": "random", "keep_ratio": 0.4})
    draws = reduce_stream(reducer, [FIVE] * 10)
    late = reducer(FIVE, ReductionContext(clip_index=9))
    assert late.indices.tolist() == draws[9]


def test_random_uses_the_generator_that_it_is_given() -> None:
    reducer = build_reducer({"name": "random", "keep_ratio": 0.4})

    def draw(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return reduce_stream(reducer, [FIVE] * 10, ReductionContext(generator=generator))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
