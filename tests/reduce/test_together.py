"""Clips of many streams at once, against one call a stream."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from made_tokens import INTERVAL, make_tokens
from torch import Tensor

from streamvlm.reduce import (
    Reduced,
    ReductionContext,
    build_reducer,
    compression,
    host,
    look,
    reduce_clip,
)
from streamvlm.reduce.compression import CompressorStream
from streamvlm.reduce.compressor import Compressor
from streamvlm.reduce.strategies.dtd import DTD
from streamvlm.reduce.together import push_together
from streamvlm.types import KeptTokens, VisualTokens

GRID, SIZE, NUM_CLIPS = (1, 4, 5), 24, 24
VARIANTS: list[dict[str, Any]] = [
    {},
    {"neighbourhood": 3, "merge": "first"},
    {"merge": "mean", "background_ratio": 0.5, "key_share": 0.5, "max_age": 3},
    {"segmenter": "anchor", "keep_ratio": 0.1},
    {"tokens_per_minute": 300.0, "segment_clips": 1},
]


def shown(
    seed: int, *, grid: tuple[int, int, int] = GRID, device: str = "cpu"
) -> list[VisualTokens]:
    """A scene that stands still under noise, in part; a cut, padding, and deepstack maps."""
    generator = torch.Generator().manual_seed(seed)
    num_cells = grid[0] * grid[1] * grid[2]

    def noise(rows: int = num_cells) -> Tensor:
        return torch.randn(rows, SIZE, generator=generator)

    still, clips = noise(), []
    for number in range(NUM_CLIPS):
        if number == 7 + seed:
            still = noise()
        features = still + 0.1 * noise()
        features[seed % 3 : seed % 3 + 3] = noise(3)
        features[-1] = 0.0
        features = features.bfloat16()
        made = make_tokens(features, grid_thw=grid, deepstack=features.repeat(2, 1, 1))
        start = INTERVAL.start.later(float(number))
        clips.append(
            replace(
                made,
                features=features.to(device),
                cells=made.cells.to(device),
                deepstack=features.repeat(2, 1, 1).to(device),
                interval=replace(INTERVAL, start=start, end=start.later(1.0)),
                pts_seconds=number + 0.25,
            )
        )
    return clips


def opened(**settings: Any) -> CompressorStream:
    reducer = build_reducer({"name": "compressor", **settings})
    assert isinstance(reducer, Compressor)
    return reducer.open()


def bits(segments: list[Reduced]) -> list[Any]:
    """All that came out, comparable."""
    return [(each.interval, [parts(clip) for clip in each.clips]) for each in segments]


def parts(clip: KeptTokens) -> list[Any]:
    assert clip.deepstack is not None
    tensors = clip.features, clip.cells, clip.indices, clip.weight, clip.deepstack
    return [clip.pts_seconds, clip.grid_thw, *(tensor.tolist() for tensor in tensors)]


def alone(clips: list[VisualTokens], **settings: Any) -> list[Any]:
    stream = opened(**settings)
    return bits([each for clip in clips for each in stream.push(clip, None)] + stream.flush())


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_any_company_gives_the_same(settings: dict[str, Any]) -> None:
    """Streams that begin at different times, one of another grid and one of other settings."""
    scenes = [shown(seed) for seed in range(4)] + [shown(4, grid=(1, 2, 3)), shown(5)]
    scenes[3] = shown(3, grid=(1, 2, 3))[:12] + scenes[3][12:]
    each_settings = [settings] * 5 + [{"keep_ratio": 0.5}]
    streams = [opened(**own) for own in each_settings]
    done: list[list[Reduced]] = [[] for _ in streams]
    for turn in range(NUM_CLIPS + 5):
        here = [number for number in range(6) if 0 <= turn - number < NUM_CLIPS]
        found = push_together(
            [streams[number] for number in here],
            [scenes[number][turn - number] for number in here],
        )
        for number, segments in zip(here, found, strict=True):
            assert not isinstance(segments, Exception)
            done[number] += segments
    for number, stream in enumerate(streams):
        expected = alone(scenes[number], **each_settings[number])
        assert bits(done[number] + stream.flush()) == expected


@pytest.mark.parametrize(
    "dtd", [DTD(), DTD(neighbourhood=3), DTD(compare_with="previous")], ids=str
)
def test_dtd_of_many_streams_is_dtd_of_each(dtd: DTD) -> None:
    scenes = [shown(seed) for seed in range(5)]
    together = [ReductionContext(max_kept=each) for each in (None, 5, 0, 100, None)]
    alone = list(together)
    for turn in range(NUM_CLIPS):
        if turn == 9:
            together[1] = alone[1] = ReductionContext(clip_index=turn)
        many = dtd.reduce_many([scene[turn] for scene in scenes], together)
        for number, kept in enumerate(many):
            clip = scenes[number][turn]
            expected, alone[number] = reduce_clip(dtd, clip, alone[number])
            assert parts(kept) == parts(expected)
            together[number] = alone[number]


def test_the_failure_of_one_is_no_concern_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, clips = opened(), opened(), shown(0)
    monkeypatch.setattr(one._segmenter, "push", lambda _: 1 / 0)
    failed, fine = push_together([one, other], [clips[0], clips[0]])
    assert isinstance(failed, ZeroDivisionError) and fine == []
    with pytest.raises(ValueError, match="two clips"):
        push_together([one, one], clips[:2])


def test_the_host_waits_once_for_any_number_of_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(*tensors: Tensor) -> list[list[float]]:
        reads.append(tensors)
        return host.read(*tensors)

    monkeypatch.setattr(look, "read", counted)
    monkeypatch.setattr(compression, "read", counted)
    streams, scenes = [opened() for _ in range(5)], [shown(0)] * 5
    for turn in range(3):
        push_together(streams, [scene[turn] for scene in scenes])
    assert len(reads) == 3


def test_dropping_is_dtd_under_a_budget() -> None:
    """What the compressor drops, written plainly with the strategy and the budget."""
    settings = Compressor(merge="off", diversity_share=0.0, keep_ratio=0.3, fill=False)
    clips = shown(1)
    stream = settings.open()
    segments = [each for clip in clips for each in stream.push(clip, None)] + stream.flush()
    kept = [clip.indices.tolist() for segment in segments for clip in segment.clips]
    assert kept == _by_strategy(settings, clips)


def _by_strategy(settings: Compressor, clips: list[VisualTokens]) -> list[list[int]]:
    budget = settings.budget(len(clips[0]))
    allowance, kept = budget.begin(0.0), []
    last, age = torch.zeros_like(clips[0].features), [0] * len(clips[0])
    for number, clip in enumerate(clips):
        allowance = budget.advance(allowance, float(number))
        cosine = torch.cosine_similarity(clip.features.double(), last.double())
        distance = [
            0.0 if not row.any() else float(1 - each)
            for row, each in zip(clip.features, cosine, strict=True)
        ]
        changed = [each > allowance.threshold for each in distance]
        is_cut = not number or sum(distance) / len(distance) > settings.cut_threshold
        worth = [
            cell
            for cell in range(len(clip))
            if is_cut
            or changed[cell]
            or (cell + number) % settings.max_age == 0
            or age[cell] + 1 >= settings.max_age
        ] or [distance.index(max(distance))]
        rows = sorted(sorted(worth, key=lambda cell: -distance[cell])[: allowance.max_kept])
        wanted = len(clip) if not number else sum(changed)
        seconds = float(number > 0)
        allowance = budget.settle(
            allowance, wanted=wanted, kept=len(rows), seconds=seconds, is_cut=is_cut
        )
        last[rows] = clip.features[rows]
        age = [0 if cell in rows else years + 1 for cell, years in enumerate(age)]
        kept.append(rows)
    return kept


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize("settings", VARIANTS[:2], ids=str)
def test_only_one_place_waits_for_the_gpu(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that what the device finds is what the host would."""
    original = torch.Tensor.tolist

    def allowed(self: Tensor) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        try:
            return original(self)
        finally:
            torch.cuda.set_sync_debug_mode("error")

    scenes = [shown(seed, device="cuda") for seed in range(3)]
    streams = [opened(**settings) for _ in scenes]
    dtd = build_reducer({"name": "dtd"})
    assert isinstance(dtd, DTD)
    done: list[list[Reduced]] = [[] for _ in scenes]
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "tolist", allowed)
        try:
            torch.cuda.set_sync_debug_mode("error")
            for turn in range(NUM_CLIPS):
                found = push_together(streams, [scene[turn] for scene in scenes])
                for own, segments in zip(done, found, strict=True):
                    assert not isinstance(segments, Exception)
                    own += segments
            done = [own + each.flush() for own, each in zip(done, streams, strict=True)]
            context = ReductionContext()
            for clip in scenes[0]:
                _, context = reduce_clip(dtd, clip, context)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for seed, own in enumerate(done):
        assert bits(own) == alone(shown(seed), **settings)
