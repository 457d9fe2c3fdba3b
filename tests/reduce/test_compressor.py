"""The composed compressor: what it keeps of made-up scenes, within its budget, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tokens import INTERVAL, make_tokens
from torch import Tensor

from streamvlm.errors import ConfigError
from streamvlm.reduce import Reduced, build_reducer
from streamvlm.reduce.compression import CompressorStream
from streamvlm.reduce.compressor import Compressor
from streamvlm.types import VisualTokens

CELLS, SIZE = 48, 8
GRID = (1, 6, 8)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scene(num_clips: int, *, seed: int = 0, with_deepstack: bool = False) -> list[VisualTokens]:
    """A background that stands still, a thing that moves over it, and a cut half-way."""
    clips = []
    for number in range(num_clips):
        part = number * 2 // num_clips
        features = noise(CELLS, SIZE, seed=1000 * seed + part)
        features[number % CELLS] = noise(SIZE, seed=77)
        features = features + 0.05 * noise(CELLS, SIZE, seed=5000 + number)
        deepstack = features.repeat(2, 1, 1) + 1 if with_deepstack else None
        clips.append(make_clip(features, number, deepstack))
    return clips


def make_clip(features: Tensor, number: int, deepstack: Tensor | None = None) -> VisualTokens:
    made = make_tokens(features, grid_thw=GRID, deepstack=deepstack)
    start = INTERVAL.start.later(float(number))
    interval = replace(INTERVAL, start=start, end=start.later(1.0))
    return replace(made, interval=interval, pts_seconds=number + 0.25)


def compressor(**settings: Any) -> CompressorStream:
    reducer = build_reducer({"name": "compressor", **settings})
    assert isinstance(reducer, Compressor)
    return reducer.open()


def compress(stream: CompressorStream, clips: list[VisualTokens]) -> list[Reduced]:
    segments = [segment for clip in clips for segment in stream.push(clip, None)]
    return segments + stream.flush()


def rows_by_clip(segments: list[Reduced]) -> dict[float, list[int]]:
    return {clip.pts_seconds: clip.indices.tolist() for each in segments for clip in each.clips}


def test_segments_follow_each_other_and_hold_real_rows() -> None:
    clips = scene(40, with_deepstack=True)
    segments = compress(compressor(), clips)
    ends = [segment.interval.end.pts_seconds for segment in segments]
    assert [each.interval.start.pts_seconds for each in segments] == [0.0, *ends[:-1]]
    assert ends[-1] == 40.0
    by_time = {clip.pts_seconds: clip for clip in clips}
    for segment in segments:
        for kept in segment.clips:
            clip = by_time[kept.pts_seconds]
            assert torch.equal(kept.features, clip.features[kept.indices])
            assert torch.equal(kept.cells, clip.cells[kept.indices])
            assert clip.deepstack is not None and kept.deepstack is not None
            assert torch.equal(kept.deepstack, clip.deepstack[:, kept.indices])
            assert (kept.weight >= 1).all()


def test_a_cut_begins_a_segment_and_is_kept_whole() -> None:
    segments = compress(compressor(), scene(40))
    (after,) = [each for each in segments if each.interval.start.pts_seconds == 20.0]
    assert {row for clip in after.clips for row in clip.indices.tolist()} == set(range(CELLS))


def test_a_still_scene_is_kept_once_and_refreshed() -> None:
    still = noise(CELLS, SIZE, seed=0)
    clips = [make_clip(still, number) for number in range(200)]
    stream = compressor(max_age=50, fill=False)
    assert sum(each.num_tokens for each in compress(stream, clips)) < 2 * CELLS + 4 * 50
    assert list(stream.curve)[1:] == [1.0] * 199


def test_what_the_budget_leaves_goes_to_the_key_tokens_once_a_segment() -> None:
    plain = noise(1, SIZE, seed=0).repeat(CELLS, 1)
    plain[7], plain[20] = noise(2, SIZE, seed=1)
    clips = [make_clip(plain, number) for number in range(1, 161)]
    settings = {"keep_ratio": 3 / CELLS, "max_age": 10_000, "segment_clips": 8}
    segments = compress(compressor(**settings), clips)
    for segment in segments[1:]:
        told = {int(row) for clip in segment.clips for row in clip.indices}
        assert {7, 20} <= told, "what is unlike the rest of a clip that stands still"
        assert segment.num_tokens <= 4, "once, and not in every clip"
    without = compress(compressor(**settings, fill=False), clips)
    assert sum(each.num_tokens for each in without) < sum(each.num_tokens for each in segments)


@pytest.mark.parametrize("keep_ratio", [0.1, 0.25])
def test_the_budget_holds_in_noise_and_is_used_up(keep_ratio: float) -> None:
    clips = [make_clip(noise(CELLS, SIZE, seed=number), number) for number in range(400)]
    kept = sum(each.num_tokens for each in compress(compressor(keep_ratio=keep_ratio), clips))
    most = keep_ratio * CELLS * len(clips)
    assert 0.95 * most <= kept <= most + 4 * CELLS


def test_a_budget_of_time_counts_seconds_of_the_stream() -> None:
    clips = [make_clip(noise(CELLS, SIZE, seed=number), 3 * number) for number in range(200)]
    kept = sum(each.num_tokens for each in compress(compressor(tokens_per_minute=120.0), clips))
    assert 0.9 * 1200 <= kept <= 1200 + 4 * CELLS, "two a second, over 600 seconds"


def test_one_call_or_many_and_neighbours_make_no_difference() -> None:
    clips, others = scene(60), scene(60, seed=1)
    alone = rows_by_clip(compress(compressor(), clips))
    one, other = compressor(), compressor()
    segments = []
    for clip, beside in zip(clips, others, strict=True):
        segments += one.push(clip, None)
        other.push(beside, None)
        assert one.waiting is None or one.waiting.clips
    assert rows_by_clip(segments + one.flush()) == alone


def test_what_waits_is_what_a_question_sees() -> None:
    stream, clips = compressor(), scene(40)
    for number, clip in enumerate(clips, start=1):
        stream.push(clip, None)
        if waiting := stream.waiting:
            assert waiting.interval.end.pts_seconds == number
            assert number - waiting.interval.start.pts_seconds < 8
    assert stream.waiting and stream.extend(INTERVAL.start.later(99.0))
    assert stream.flush()[-1].interval.end.pts_seconds == 99.0
    assert stream.waiting is None and not stream.extend(INTERVAL.start)


def test_refreshed_cells_of_a_segment_become_one_token() -> None:
    still = noise(CELLS, SIZE, seed=0)
    clips = [make_clip(still, number) for number in range(64)]
    settings = {"max_age": 2, "keep_ratio": 1.0}
    plain, merged = compressor(merge="off", **settings), compressor(**settings)
    compress(plain, clips)
    segments = compress(merged, clips)
    assert merged.steps.dropped_to == plain.steps.dropped_to
    assert merged.steps.kept < 0.5 * plain.steps.kept
    weight = sum(float(clip.weight.sum()) for each in segments for clip in each.clips)
    assert weight == merged.steps.dropped_to, "every token that came is in one that stayed"


def test_the_first_of_a_cell_says_when_it_came() -> None:
    still = noise(CELLS, SIZE, seed=0)
    clips = [
        make_clip(still + 0.1 * noise(CELLS, SIZE, seed=number + 1), number) for number in range(8)
    ]
    for merge, is_first in (("first", True), ("medoid", False)):
        segments = compress(compressor(max_age=1, merge=merge, keep_ratio=1.0), clips)
        rows = rows_by_clip(segments)
        assert sum(map(len, rows.values())) == CELLS
        assert (list(rows) == [0.25]) is is_first


def test_the_background_may_shrink_but_never_to_nothing() -> None:
    clips = scene(40)
    full = compressor()
    compress(full, clips)
    small = compressor(background_ratio=0.01)
    compress(small, clips)
    assert 0 < small.steps.background_to < small.steps.merged_to
    assert full.steps.background_to == full.steps.merged_to


def test_the_key_clip_of_a_new_scene_gets_more() -> None:
    stream = compressor(key_share=0.5)
    compress(stream, scene(40))
    assert stream.steps.kept > stream.steps.background_to


def test_means_stand_where_one_of_their_members_stood() -> None:
    still = noise(CELLS, SIZE, seed=0)
    clips = [
        make_clip(still + 0.1 * noise(CELLS, SIZE, seed=number + 1), number) for number in range(8)
    ]
    segments = compress(compressor(max_age=1, merge="mean", keep_ratio=1.0), clips)
    kept = [clip for segment in segments for clip in segment.clips]
    assert sum(len(clip) for clip in kept) == CELLS
    assert all((clip.weight == 8).all() for clip in kept)
    mean = torch.stack([clip.features for clip in clips]).mean(dim=0)
    for clip in kept:
        assert torch.allclose(clip.features, mean[clip.indices], atol=1e-5)


def test_a_change_of_size_begins_anew() -> None:
    small = [make_tokens(noise(6, SIZE, seed=number)) for number in range(3)]
    stream = compressor()
    segments = compress(stream, [*scene(5), *small])
    assert [clip.grid_thw for each in segments for clip in each.clips][-1] == (1, 1, 6)
    assert stream.steps.seen == 5 * CELLS + 3 * 6


def test_one_token_or_none_a_clip_does_no_harm() -> None:
    one = [make_tokens(noise(1, SIZE, seed=number)) for number in range(10)]
    assert compress(compressor(), one)
    none = [make_tokens(torch.zeros(0, SIZE), grid_thw=(1, 0, 0)) for _ in range(10)]
    assert all(not segment.clips for segment in compress(compressor(), none))


def test_a_failure_loses_its_clip_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clips = compressor(), scene(10)
    segments = [segment for clip in clips[:4] for segment in stream.push(clip, None)]
    with monkeypatch.context() as patched:
        patched.setattr(stream._segmenter, "push", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.push(clips[4], None)
    segments += compress(stream, clips[5:])
    times = sorted(rows_by_clip(segments))
    assert 3.25 in times and 4.25 not in times and times[-1] == 9.25


def test_its_state_is_bounded() -> None:
    stream = compressor()
    sizes = []
    for number, clip in enumerate(scene(400)):
        stream.push(clip, None)
        if number >= 200:
            sizes.append(stream.num_bytes)
    whole = CELLS * SIZE * 4
    assert max(sizes) <= 20 * whole


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keep_ratio": 0}, ["keep_ratio = 0", "greater than 0"]),
        ({"merge": "all"}, ["'all'", "'off', 'first', 'medoid' or 'mean'"]),
        ({"keep_ratio": 0.5, "tokens_per_minute": 60}, ["keep_ratio has no effect"]),
        ({"segment": 4}, ["compressor has no setting 'segment'", "segment_clips"]),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        compressor(**settings)
    assert all(word in str(error.value) for word in words)
