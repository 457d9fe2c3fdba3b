"""What every reducer promises that cuts a stream into segments itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tokens import START, make_tokens

from streamvlm.reduce import SEGMENT_REDUCERS, AnyReducer, Reduced, build_reducer, open_stream
from streamvlm.reduce.base import num_kept
from streamvlm.types import Interval, VisualTokens

VARIANTS: list[dict[str, Any]] = [
    *({"name": name} for name in SEGMENT_REDUCERS),
    {"name": "holitom", "salience": "attention"},
    {"name": "compressor", "segmenter": "anchor", "merge": "mean", "background_ratio": 0.5},
    {"name": "compressor", "neighbourhood": 3, "merge": "off", "key_share": 0.5},
]
SIZES = (0, 1, 2, 7, 64)

EXACT = sorted({*SEGMENT_REDUCERS} - {"compressor", "holitom"})
"""Those that keep still cells apart where the share allows it."""

every_reducer = pytest.mark.parametrize("spec", VARIANTS, ids=lambda spec: str(spec["name"]))
every_size = pytest.mark.parametrize("size", SIZES)


def shown(
    size: int, *, seed: int = 0, count: int = 30, dtype: torch.dtype = torch.float32
) -> list[VisualTokens]:
    """Clips of which a part stands still; two scenes."""
    generator = torch.Generator().manual_seed(seed)
    still, clips = torch.randn(size, 6, generator=generator), []
    for number in range(count):
        if number == count // 2:
            still = torch.randn(size, 6, generator=generator)
        features = still + 0.1 * torch.randn(size, 6, generator=generator)
        features[: size // 3] = torch.randn(size // 3, 6, generator=generator)
        features = features.to(dtype)
        tokens = make_tokens(features, deepstack=features.repeat(2, 1, 1))
        clips.append(replace(tokens, salience=torch.rand(size, generator=generator)))
    return clips


def run(reducer: AnyReducer, clips: list[VisualTokens]) -> list[Reduced]:
    stream = open_stream(reducer, 4)
    return [each for clip in clips for each in stream.push(clip, None)] + stream.flush()


def rows_of(segments: list[Reduced]) -> list[list[int]]:
    return [clip.indices.tolist() for each in segments for clip in each.clips]


@every_reducer
@every_size
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kept_rows_are_in_order_and_stand_for_real_ones(
    spec: dict[str, Any], size: int, dtype: torch.dtype
) -> None:
    for segment in run(build_reducer(spec), shown(size, dtype=dtype)):
        for kept in segment.clips:
            assert len(kept) and kept.features.dtype == dtype
            assert (kept.indices.diff() > 0).all() and (kept.indices < size).all()
            assert kept.features.isfinite().all() and (kept.weight >= 1).all()
            assert kept.cells[:, 2].tolist() == kept.indices.tolist()
            assert kept.deepstack is not None and kept.deepstack.shape[1] == len(kept)


@every_reducer
@every_size
def test_nothing_depends_on_what_came_before_a_gap_or_on_neighbours(
    spec: dict[str, Any], size: int
) -> None:
    reducer, clips, others = build_reducer(spec), shown(size), shown(size, seed=1)
    alone = rows_of(run(reducer, clips))
    one, other = open_stream(reducer, 4), open_stream(reducer, 4)
    segments: list[Reduced] = []
    for clip, beside in zip(clips, others, strict=True):
        segments += one.push(clip, None)
        other.push(beside, None)
    assert rows_of(segments + one.flush()) == alone
    assert one.flush() == [] and one.waiting is None


@every_reducer
@pytest.mark.parametrize("value", [0.0, 1.0], ids=["zero vectors", "all alike"])
def test_degenerate_features_do_no_harm(spec: dict[str, Any], value: float) -> None:
    alike = [
        replace(make_tokens(torch.full((5, 6), value)), salience=torch.full((5,), 0.2))
        for _ in range(20)
    ]
    for clip in (kept for each in run(build_reducer(spec), alike) for kept in each.clips):
        assert clip.features.isfinite().all()


@every_reducer
def test_its_input_is_not_changed(spec: dict[str, Any]) -> None:
    clips = shown(7)
    before = [clip.features.clone() for clip in clips]
    run(build_reducer(spec), clips)
    assert all(torch.equal(clip.features, own) for clip, own in zip(clips, before, strict=True))


@every_size
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("keep_ratio", [0.02, 0.3, 0.9, 1.0])
def test_no_segment_keeps_more_than_its_share(name: str, keep_ratio: float, size: int) -> None:
    segments = run(build_reducer({"name": name, "keep_ratio": keep_ratio}), shown(size))
    for segment in segments:
        assert segment.owners is not None
        num_total = segment.owners().numel()
        assert segment.num_tokens <= num_kept(num_total, keep_ratio)
        assert bool(segment.num_tokens) is bool(num_total)
    if keep_ratio == 1:
        kept = [clip for segment in segments for clip in segment.clips]
        expected = [clip.features for clip in shown(size) if size]
        assert len(kept) == len(expected)
        for clip, features in zip(kept, expected, strict=True):
            assert torch.equal(clip.features, features) and (clip.weight == 1).all()


@every_reducer
@every_size
def test_owners_say_which_rows_stand_for_which(spec: dict[str, Any], size: int) -> None:
    clips = [
        replace(clip, interval=Interval(start=START.later(at), end=START.later(at + 1)))
        for at, clip in enumerate(shown(size))
    ]
    segments = run(build_reducer(spec), clips)
    for segment in segments:
        assert segment.owners is not None
        owner = segment.owners()
        assert owner.dtype == torch.int64
        assert owner.shape == (segment.interval.duration_seconds, size)
        rows = torch.arange(owner.numel()).view_as(owner)
        first = int(segment.interval.start.pts_seconds)
        found = [
            (int(kept.interval.start.pts_seconds) - first, int(row), float(weight))
            for kept in segment.clips
            for row, weight in zip(kept.indices, kept.weight, strict=True)
        ]
        assert found == [
            (*at, float((owner == rows[*at]).sum())) for at in (owner == rows).nonzero().tolist()
        ]
        assert bool((owner < 0).logical_or(owner.flatten()[owner.clamp_min(0)] == owner).all())
