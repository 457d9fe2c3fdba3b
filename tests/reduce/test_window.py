"""Windows of clips and what they are cut into; shares of a count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from streamvlm.reduce.base import shared_out
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.strategies.prunevid import stretches
from streamvlm.reduce.window import WindowSegmenter


def clip(value: float) -> Tensor:
    return torch.full((4, 2), value, dtype=torch.bfloat16)


def lengths(segments: list[Segment]) -> list[int]:
    return [segment.num_clips for segment in segments]


def test_a_window_is_one_segment_unless_a_rule_cuts_it() -> None:
    segmenter = WindowSegmenter(max_clips=3)
    found = [lengths(segmenter.push(clip(1.0))) for _ in range(7)]
    assert found == [[], [], [3], [], [], [3], []]
    assert lengths(segmenter.flush()) == [1]
    assert segmenter.flush() == []


def test_the_rule_sees_the_mean_of_every_clip_of_the_window() -> None:
    seen: list[Tensor] = []

    def cut(means: Tensor) -> list[int]:
        seen.append(means)
        return [1, len(means) - 1]

    segmenter = WindowSegmenter(max_clips=3, cut=cut)
    segments = [each for value in range(3) for each in segmenter.push(clip(float(value)))]
    assert lengths(segments) == [1, 2]
    assert all(not segment.is_static.any() for segment in segments)
    assert torch.equal(seen[0], torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]))


def test_clips_without_cells_have_a_mean_too() -> None:
    seen: list[Tensor] = []

    def cut(means: Tensor) -> list[int]:
        seen.append(means)
        return [1]

    segmenter = WindowSegmenter(max_clips=1, cut=cut)
    segmenter.push(torch.empty(0, 2))
    assert torch.equal(seen[0], torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("aaabbb", [3, 3]),
        ("aabaa", [5]),
        ("aaabaab", [7]),
        ("aaabcccc", [3, 5]),
        ("aaabccc", [4, 3]),
        ("abccab", [6]),
        ("abcd", [4]),
        ("aabcdd", [4, 2]),
    ],
)
def test_clusters_become_stretches(labels: str, expected: list[int]) -> None:
    """Of each the longest run stays, if it has two clips; the longer neighbour takes the rest."""
    assert stretches([ord(label) for label in labels]) == expected


@pytest.mark.parametrize("sizes", [[], [0], [7], [3, 0, 9], [5, 5, 5, 1]])
def test_shares_are_in_proportion_and_no_larger_than_their_size(sizes: list[int]) -> None:
    for count in range(sum(sizes) + 1):
        shares = shared_out(count, sizes)
        assert sum(shares) == count
        for share, size in zip(shares, sizes, strict=True):
            assert 0 <= share <= size
            assert abs(share - count * size / sum(sizes)) < 1 if size else share == 0
    assert shared_out(5, [4, 4, 4]) == [1, 2, 2]
