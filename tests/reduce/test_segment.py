"""Online segmentation against the dynamic programme over the whole video, written plainly."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from streamvlm.reduce.segment import AnchorSegmenter, DPSegmenter, Segment, Segmenter

NUM_CELLS = 16
NEVER = 10**9


def scene(seed: int, num_clips: int) -> list[Tensor]:
    """Cells that stand still, change now and then, or flicker all the time; and a few cuts."""
    generator = torch.Generator().manual_seed(seed)

    def noise() -> Tensor:
        return torch.randn(NUM_CELLS, 6, generator=generator)

    change = torch.rand(NUM_CELLS, generator=generator) ** 2
    shown, clips = noise(), []
    for _ in range(num_clips):
        is_cut = torch.rand(1, generator=generator) < 0.08
        is_new = (torch.rand(NUM_CELLS, generator=generator) < change) | is_cut
        shown = torch.where(is_new[:, None], noise(), shown)
        clips.append(shown + 0.15 * noise())
    return clips


def offline(clips: list[Tensor], most: int, similarity: float = 0.8) -> tuple[int, list[int]]:
    """(tokens removed, lengths of the segments) of the best cut, by looking at every window."""
    static = [torch.cosine_similarity(*pair) > similarity for pair in pairwise(clips)]

    def gain(start: int, end: int) -> int:
        alike = torch.stack(static[start : end - 1]).all(dim=0)
        return (end - start - 1) * int(alike.sum())

    removed, lengths = [0], [0]
    for end in range(1, len(clips) + 1):
        best, length = removed[end - 1], 1
        for clips_here in range(2, min(end, most) + 1):
            here = removed[end - clips_here] + gain(end - clips_here, end)
            if here > best:
                best, length = here, clips_here
        removed.append(best)
        lengths.append(length)
    cuts, end = [], len(clips)
    while end:
        cuts.append(lengths[end])
        end -= lengths[end]
    return removed[-1], cuts[::-1]


def online(segmenter: Segmenter, clips: list[Tensor]) -> list[Segment]:
    segments = [segment for clip in clips for segment in segmenter.push(clip)]
    return segments + segmenter.flush()


def num_removed(segments: list[Segment]) -> int:
    return sum((each.num_clips - 1) * int(each.is_static.sum()) for each in segments)


def test_online_equals_offline_where_nothing_is_forced() -> None:
    for seed in range(200):
        most = (2, 3, 4, 8, 16)[seed % 5]
        clips = scene(seed, num_clips=40)
        segments = online(DPSegmenter(max_clips=most, max_waiting=NEVER), clips)
        removed, lengths = offline(clips, most)
        assert [each.num_clips for each in segments] == lengths, seed
        assert num_removed(segments) == removed, seed


def test_online_equals_offline_at_the_size_of_real_features() -> None:
    generator = torch.Generator().manual_seed(0)
    shown, clips = torch.randn(150, 4096, generator=generator), []
    for number in range(12):
        is_new = torch.rand(150, 1, generator=generator) < (1.0 if number == 7 else 0.15)
        shown = torch.where(is_new, torch.randn(150, 4096, generator=generator), shown)
        clips.append((shown + 0.3 * torch.randn(150, 4096, generator=generator)).bfloat16())
    segments = online(DPSegmenter(max_waiting=NEVER), clips)
    removed, lengths = offline([clip.float() for clip in clips], most=8)
    assert [each.num_clips for each in segments] == lengths
    assert num_removed(segments) == removed > 0


def test_forced_cuts_stay_near_the_best() -> None:
    shares = []
    for seed in range(100):
        clips = scene(seed, num_clips=60)
        removed, _ = offline(clips, most=len(clips))
        shares.append(num_removed(online(DPSegmenter(), clips)) / max(1, removed))
    assert sum(shares) / len(shares) >= 0.96
    assert min(shares) > 0.8


def test_segments_are_told_as_soon_as_they_are_settled() -> None:
    segmenter, clips = DPSegmenter(max_waiting=8), scene(3, num_clips=200)
    told = 0
    for number, clip in enumerate(clips, start=1):
        told += sum(each.num_clips for each in segmenter.push(clip))
        assert told + segmenter.num_waiting == number
        assert segmenter.num_waiting < 8


def test_a_cut_settles_all_before_it() -> None:
    segmenter, here, there = DPSegmenter(), torch.eye(4), torch.eye(4).flip(0)
    told = [[each.num_clips for each in segmenter.push(clip)] for clip in [here] * 5 + [there]]
    assert told == [[]] * 5 + [[5]]


def test_static_cells_are_those_that_never_changed_in_the_segment() -> None:
    still = torch.eye(4)
    changed = still.clone()
    changed[2] = -1
    segmenter = DPSegmenter()
    (segment,) = online(segmenter, [still, still, changed, changed])
    assert (segment.num_clips, segment.is_static.tolist()) == (4, [True, True, False, True])
    (single,) = online(segmenter, [still])
    assert (single.num_clips, single.is_static.any().item()) == (1, False)


@pytest.mark.parametrize("make", [DPSegmenter, AnchorSegmenter])
def test_a_flush_begins_anew(make: type[DPSegmenter] | type[AnchorSegmenter]) -> None:
    segmenter, clips = make(), scene(5, num_clips=30)
    first = [each.num_clips for each in online(segmenter, clips)]
    other_size = [torch.randn(5, 3) for _ in range(4)]
    assert sum(each.num_clips for each in online(segmenter, other_size)) == 4
    assert [each.num_clips for each in online(segmenter, clips)] == first
    assert segmenter.flush() == []


def test_an_anchor_holds_its_segment_until_the_scene_leaves_it() -> None:
    here, there = torch.eye(4), torch.eye(4).flip(0)
    segments = online(AnchorSegmenter(max_clips=3), [here] * 4 + [there] * 2)
    assert [each.num_clips for each in segments] == [3, 1, 2]
    assert [each.is_static.all().item() for each in segments] == [True, False, True]
    turned = [torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.1], [1.0, 0.0]])]
    (segment,) = online(AnchorSegmenter(similarity=0.4), turned)
    assert segment.is_static.tolist() == [True, False]
