"""Differential token dropping: by what was last kept, and by the published rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tokens import angles, make_tokens, reduce_stream

from streamvlm.reduce import Reducer, ReductionContext, build_reducer, reduce_clip
from streamvlm.types import VisualTokens

FIVE = angles(0, 0, 0, 0, 0)
ALL_FIVE = [0, 1, 2, 3, 4]
THIRTY_DEGREES = 0.134
"""A threshold between the distances of 29 and 31 degrees."""


def dtd(**settings: Any) -> Reducer:
    """Without refreshes within the length of a test, and with no cut unless one is asked for."""
    if settings.get("compare_with") != "previous":
        settings = {"max_age": 10_000, "cut_threshold": 2.0} | settings
    return build_reducer({"name": "dtd"} | settings)


def second_clip(reducer: Reducer, tokens: VisualTokens, **context: Any) -> list[int]:
    """Rows kept of `tokens` after FIVE was kept whole, in a clip where no refresh is due."""
    _, known = reduce_clip(reducer, FIVE, ReductionContext(clip_index=100))
    return reducer(tokens, replace(known, **context)).indices.tolist()


@pytest.mark.parametrize("compare_with", ["reference", "previous"])
def test_five_tokens_of_which_two_change(compare_with: str) -> None:
    reducer = dtd(threshold=0.5, compare_with=compare_with)
    assert second_clip(reducer, angles(0, 90, 50, 70, -20)) == [1, 3]


@pytest.mark.parametrize("compare_with", ["reference", "previous"])
def test_the_first_clip_and_one_of_another_grid_are_kept_whole(compare_with: str) -> None:
    reducer = dtd(compare_with=compare_with)
    other_grid = replace(FIVE, grid_thw=(1, 5, 1))
    kept = reduce_stream(reducer, [FIVE, FIVE, other_grid, angles(0, 0)])
    assert [kept[0], kept[2], kept[3]] == [ALL_FIVE, ALL_FIVE, [0, 1]]
    assert kept[1] != ALL_FIVE


def test_flicker_below_the_threshold_is_dropped() -> None:
    clips = [angles(*[(-1) ** i * 10.0] * 5) for i in range(20)]
    kept = reduce_stream(dtd(threshold=THIRTY_DEGREES), clips)
    assert kept[0] == ALL_FIVE
    assert all(len(rows) == 1 for rows in kept[1:])


def drifting(num_clips: int) -> list[VisualTokens]:
    """Each cell turns by 10 degrees a clip: never far from the clip before."""
    return [angles(*[10.0 * i] * 5) for i in range(num_clips)]


def test_slow_drift_is_kept_again_and_stays_within_the_threshold() -> None:
    reducer, context = dtd(threshold=THIRTY_DEGREES), ReductionContext()
    times_kept = torch.zeros(5)
    for tokens in drifting(20):
        kept, context = reduce_clip(reducer, tokens, context)
        times_kept[kept.indices] += 1
        assert context.reference is not None
        held = torch.cosine_similarity(context.reference.features, tokens.features)
        assert (1 - held <= THIRTY_DEGREES + 1e-6).all()
    assert (times_kept > 3).all()


def test_the_published_rule_never_notices_slow_drift() -> None:
    reducer = dtd(threshold=THIRTY_DEGREES, compare_with="previous")
    assert reduce_stream(reducer, drifting(20)) == [ALL_FIVE] + [[]] * 19


def test_the_published_rule_keeps_a_cell_exactly_at_the_threshold() -> None:
    """Dropped iff cos > tau: with tau = 0, a right angle stays."""
    reducer = dtd(threshold=1.0, compare_with="previous")
    still = make_tokens([[1.0, 0.0]] * 3)
    turned = make_tokens([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    assert reduce_stream(reducer, [still, turned])[1] == [0, 2]


def test_the_published_rule_agrees_with_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    clips = [make_tokens(torch.randn(64, 4, generator=generator)) for _ in range(5)]
    kept = reduce_stream(dtd(threshold=0.5, compare_with="previous"), clips)
    for before, now, rows in zip(clips, clips[1:], kept[1:], strict=False):
        cosine = torch.cosine_similarity(before.features, now.features)
        assert rows == (~(cosine > 0.5)).nonzero().flatten().tolist()


@pytest.mark.parametrize("num_cells", [5, 64, 200])
def test_refreshes_are_spread_out_and_bound_the_age(num_cells: int) -> None:
    max_age = 10
    reducer, context = dtd(max_age=max_age), ReductionContext()
    still = angles(*[0.0] * num_cells)
    for clip_index in range(5 * max_age):
        kept, context = reduce_clip(reducer, still, context)
        assert context.reference is not None
        assert context.reference.age.max() < max_age
        if clip_index:
            assert len(kept) <= -(-num_cells // max_age)


def test_a_refresh_that_a_cap_prevented_is_made_up_for() -> None:
    reducer = dtd(max_age=4)
    context = ReductionContext()
    for _ in range(10):
        _, context = reduce_clip(reducer, FIVE, context)
        context = replace(context, max_kept=0)
    assert context.reference is not None and context.reference.age.min() >= 4
    assert reducer(FIVE, replace(context, max_kept=None)).indices.tolist() == ALL_FIVE


def test_a_cut_keeps_everything_even_what_did_not_change() -> None:
    scene = angles(90, 90, 90, 90, 0)
    assert second_clip(dtd(cut_threshold=0.7), scene) == ALL_FIVE
    assert second_clip(dtd(cut_threshold=0.9), scene) == [0, 1, 2, 3]


def test_the_floor_keeps_the_most_changed_of_a_still_scene() -> None:
    quiet = angles(0, 3, 9, 3, 0)
    assert second_clip(dtd(), quiet) == [2]
    assert second_clip(dtd(min_kept=2), quiet) == [1, 2]
    assert second_clip(dtd(min_kept=9), quiet) == ALL_FIVE


def test_ties_go_to_the_lower_index() -> None:
    assert second_clip(dtd(min_kept=2), FIVE) == [0, 1]
    assert second_clip(dtd(), angles(90, 90, 90, 90, 90), max_kept=3) == [0, 1, 2]


def test_the_cap_keeps_the_most_changed_and_beats_the_floor() -> None:
    busy = angles(50, 90, 60, 180, 0)
    assert second_clip(dtd(), busy, max_kept=2) == [1, 3]
    assert second_clip(dtd(min_kept=4), busy, max_kept=2) == [1, 3]
    assert second_clip(dtd(), busy, max_kept=0) == []


def test_a_capped_first_clip_is_completed_by_the_next_ones() -> None:
    kept = reduce_stream(dtd(), [FIVE] * 4, ReductionContext(max_kept=2))
    assert kept == [[1, 3], [0, 2], [4], [0]]


def test_a_neighbourhood_of_three_forgives_a_shift_by_one_cell() -> None:
    picture = angles(0, 40, 80, 120, 160)
    shifted = angles(40, 80, 120, 160, 160)
    context = ReductionContext(clip_index=100)
    for neighbourhood, rows in [(1, [0, 1, 2, 3]), (3, [0])]:
        reducer = dtd(threshold=THIRTY_DEGREES, neighbourhood=neighbourhood)
        assert reduce_stream(reducer, [picture, shifted], context)[1] == rows


def test_a_zero_vector_is_no_change() -> None:
    padded = make_tokens(torch.stack([torch.zeros(2), *angles(0, 90, 0, 0).features]))
    assert second_clip(dtd(), padded) == [2]
