"""What became of each cell, read from what strategies give."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from streamvlm.evaluate.reduction.fates import ClipShape, Fates, fates_of
from streamvlm.reduce import Reduced, ReductionContext
from streamvlm.reduce.ops import keep_rows, merge_rows
from streamvlm.reduce.strategies.fluxmem import FluxMem
from streamvlm.reduce.strategies.tome import ToMe
from streamvlm.types import ClockSource, Interval, StreamTime, VisualTokens

START = StreamTime(pts_seconds=0.0, utc_seconds=1.7e9, clock=ClockSource.FILE)


def clip(second: int, features: torch.Tensor) -> VisualTokens:
    """A row of cells."""
    grid_thw = (1, 1, len(features))
    return VisualTokens(
        features=features,
        cells=torch.cartesian_prod(*(torch.arange(size) for size in grid_thw)),
        grid_thw=grid_thw,
        interval=Interval(start=START.later(second), end=START.later(second + 1)),
        pts_seconds=second + 0.25,
    )


CLIPS = [clip(second, torch.eye(4)) for second in range(3)]
INTERVAL = Interval(start=START, end=START.later(3))
SHAPES = [ClipShape.of(each) for each in CLIPS]


def lists(fates: Fates) -> tuple[list[int], list[int], list[int]]:
    return (
        fates.owner.tolist(),
        fates.is_kept.astype(int).tolist(),
        fates.is_merged.astype(int).tolist(),
    )


def test_what_is_pruned_is_kept_or_dropped() -> None:
    kept = [keep_rows(CLIPS[0], torch.tensor([1, 3])), keep_rows(CLIPS[2], torch.tensor([0]))]
    found = fates_of(Reduced(clips=tuple(kept), interval=INTERVAL), SHAPES)
    assert [lists(each) for each in found] == [
        ([-1, 1, -1, 3], [0, 1, 0, 1], [0] * 4),
        ([-1] * 4, [0] * 4, [0] * 4),
        ([0, -1, -1, -1], [1, 0, 0, 0], [0] * 4),
    ]
    assert [each.num_kept for each in found] == [2, 0, 1]


def test_what_is_merged_within_a_clip_has_one_owner() -> None:
    kept = merge_rows(CLIPS[0], torch.tensor([1, 1, -1, 3]))
    [found] = fates_of(Reduced(clips=(kept,), interval=INTERVAL), SHAPES[:1])
    assert lists(found) == ([1, 1, -1, 3], [0, 1, 0, 1], [1, 1, 0, 0])


def test_what_is_merged_across_clips_has_the_cell_of_its_owner() -> None:
    owner = torch.tensor([[0, -1, 6, 3], [0, -1, 6, 7], [6, -1, 6, -1]])
    owner[0, 0] = owner[1, 0] = 0
    found = fates_of(Reduced(clips=(), interval=INTERVAL, owners=lambda: owner), SHAPES)
    assert [lists(each) for each in found] == [
        ([0, -1, 2, 3], [1, 0, 0, 1], [1, 0, 1, 0]),
        ([0, -1, 2, 3], [0, 0, 1, 1], [1, 0, 1, 0]),
        ([2, -1, 2, -1], [0, 0, 0, 0], [1, 0, 1, 0]),
    ]


@pytest.mark.parametrize("reducer", [ToMe(), FluxMem()], ids=["tome", "fluxmem"])
def test_a_strategy_that_merges_is_seen_to_merge(reducer: ToMe | FluxMem) -> None:
    near = torch.eye(6)[[0, 0, 0, 0, 1, 1, 1, 1]] + 0.01 * torch.eye(8)[:, :6]
    shown = clip(0, near)
    kept = reducer(shown, ReductionContext())
    [found] = fates_of(Reduced(clips=(kept,), interval=shown.interval), [ClipShape.of(shown)])
    assert found.is_merged.any() and found.num_kept == len(kept)
    for row, weight in zip(kept.indices.tolist(), kept.weight.tolist(), strict=True):
        assert (found.owner == row).sum() == weight


def test_sizes_may_differ_within_a_segment() -> None:
    other = clip(1, torch.eye(2))
    kept = (keep_rows(CLIPS[0], torch.tensor([2])), keep_rows(other, torch.tensor([1])))
    shapes = [SHAPES[0], ClipShape.of(replace(other, pts_seconds=1.25))]
    found = fates_of(Reduced(clips=kept, interval=INTERVAL), shapes)
    assert [each.owner.tolist() for each in found] == [[-1, -1, 2, -1], [-1, 1]]
