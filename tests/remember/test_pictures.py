"""Blocks that lie as pictures, and are seen again."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from streamvlm.encode import Encoder, preprocess
from streamvlm.errors import CapacityError
from streamvlm.pipeline import StreamPipeline
from streamvlm.remember import Rung, SnapshotFolder, Storage
from streamvlm.remember.pictures import Pictures
from streamvlm.seeing import JpegSight
from streamvlm.types import InputTokens, RawKV, Tier, VisualTokens
from streamvlm.vlm import Cursor
from streamvlm.vlm.inputs import join
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.remember.test_again import equal
from tests.remember.test_any_order import ABOUT, CPU
from tests.remember.test_tiers import PLENTY, everything, flip, lower, on_disk, where
from tests.streams import feed, make_pipeline

SEGMENT_CLIPS = 3
MIDDLE = 1
ROWS, COLUMNS = 3, 4


def storage(vlm: QwenVL, *rungs: Rung, num_clips: int = 1, folder: Path | None = None) -> Storage:
    encoder = Encoder(tower=vlm, max_batch_clips=4)
    sight = JpegSight(encoder=encoder, num_clips=num_clips, quantiser=3)
    return Storage(lower=rungs, sight=sight, folder=folder)


def watched(
    vlm: QwenVL,
    kept: Storage,
    reduce: dict[str, Any] | None = None,
    *,
    num_clips: int = 4 * SEGMENT_CLIPS,
    keeps_pictures: bool = True,
    **settings: Any,
) -> StreamPipeline:
    """A stream of noise in which no clip is like another."""
    settings = {"segment_clips": SEGMENT_CLIPS, "local_blocks": 0, **settings}
    pipeline = make_pipeline(vlm, reduce, storage=kept, **settings)
    size = clip_size(vlm, ROWS, COLUMNS)
    clips = [make_clip(index, size=size) for index in range(num_clips)]
    feed(pipeline, clips, keeps_pictures=keeps_pictures)
    pipeline.memory.check()
    return pipeline


def seen_by_hand(vlm: QwenVL, packed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Features and deepstack of a JPEG."""
    codec = av.CodecContext.create("mjpeg", "r")
    (picture,) = codec.decode(av.Packet(packed.numpy().tobytes()))  # type: ignore[attr-defined]
    still = torch.from_numpy(picture.to_ndarray(format="rgb24"))[None, None]
    patches, grid = preprocess(still, vlm.patch_spec)
    return vlm.encode(patches, [grid])


def forms(pipeline: StreamPipeline) -> list[str]:
    return [block.form for block in pipeline.memory.blocks]


@pytest.mark.parametrize("num_pictures", [1, 2])
def test_what_comes_back_is_the_jpeg_encoded_and_prefilled_where_its_clip_was(
    vlm: QwenVL, num_pictures: int
) -> None:
    exact = watched(vlm, Storage())
    host = lower(PLENTY, host="pictures")
    pipeline = watched(vlm, storage(vlm, *host, num_clips=num_pictures))
    pipeline.memory.evict(0)
    assert forms(pipeline) == ["pictures"] * 4
    chosen = {1: [MIDDLE], 2: [0, 2]}[num_pictures]
    pairs = zip(pipeline.memory.blocks, everything(pipeline.memory), strict=True)
    for (held, again), was in zip(pairs, everything(exact.memory), strict=True):
        assert isinstance(held.kv, Pictures)
        before, parts = torch.split(was.kv.positions, was.clip_lengths), list[InputTokens]()
        for number, packed in zip(chosen, held.kv.packed, strict=True):
            features, deepstack = seen_by_hand(vlm, packed)
            clip = make_clip(SEGMENT_CLIPS * was.block_id + number)
            tokens = VisualTokens(
                features=features,
                cells=torch.cartesian_prod(*map(torch.arange, (1, ROWS, COLUMNS))),
                grid_thw=(1, ROWS, COLUMNS),
                interval=clip.interval,
                pts_seconds=clip.pts_seconds,
                deepstack=deepstack,
            )
            place = int(before[number][0, 0])
            parts.append(vlm.lay_out_clip(tokens, Cursor(text=place, temporal=place))[0])
        inputs = join(parts)
        context = vlm.open_context([pipeline.memory.sinks])
        assert equal(again.kv, vlm.prefill(inputs, context).kv)
        assert torch.equal(again.kv.positions, torch.cat([before[each] for each in chosen]))
        assert (again.interval, again.block_id) == (was.interval, was.block_id)
        assert torch.equal(held.summary.keys, was.summary.keys), "found as ever"
        assert torch.equal(vlm.index_keys(again.kv)[again.summary.tokens], again.summary.keys)


@pytest.mark.parametrize("keep_ratio", [0.1, 0.5])
@pytest.mark.parametrize("keep", [1.0, 0.1])
@pytest.mark.parametrize("num_pictures", [1, SEGMENT_CLIPS])
def test_it_costs_no_more_tokens_and_stays_in_its_place(
    vlm: QwenVL, keep_ratio: float, keep: float, num_pictures: int
) -> None:
    host = Rung(tier=Tier.HOST, budget_bytes=PLENTY, form="pictures", keep=keep)
    reduce = {"name": "random", "keep_ratio": keep_ratio}
    kept = storage(vlm, host, num_clips=num_pictures)
    pipeline = watched(vlm, kept, reduce, num_clips=8 * SEGMENT_CLIPS)
    whole = [block.kv.positions for block in everything(pipeline.memory)]
    pipeline.memory.evict(0)
    again = everything(pipeline.memory)
    for held, block, was in zip(pipeline.memory.blocks, again, whole, strict=True):
        assert len(block.kv) <= len(held.kv) <= len(was) or block.num_visual == 1
        is_whole = block.num_visual == num_pictures * ROWS * COLUMNS
        one_more = 1 + (len(block.kv) - block.num_visual) // len(block.clip_lengths)
        assert is_whole or len(block.kv) + one_more > len(held.kv), "as much of it as may be"
        assert was[:, 0].min() <= block.kv.positions[:, 0].min()
        assert block.kv.positions.max() <= was.max()
        assert block.interval == held.interval
    ledger = torch.cat([block.kv.positions[:, 0] for block in again])
    assert (ledger.diff() >= 0).all(), "in order, and apart"
    told = pipeline.status().tiers
    assert [(one.tier, one.form, one.blocks) for one in told] == [("host", "pictures", 8)]
    assert told[0].num_bytes == sum(block.num_bytes for block in pipeline.memory.blocks)


def test_each_tier_below_finds_what_it_needs_beside_the_block(vlm: QwenVL, tmp_path: Path) -> None:
    rungs = lower(PLENTY, PLENTY, "embeddings", "pictures")
    pipeline = watched(vlm, storage(vlm, *rungs, folder=tmp_path))
    memory = pipeline.memory
    device = memory.blocks[0]
    assert device.inputs is not None and device.pictures is not None
    each = device.inputs.num_bytes + device.pictures.num_bytes
    assert device.num_bytes == len(device.kv) * vlm.kv_bytes_per_token + each
    assert memory.num_bytes == sum(block.num_bytes for block in memory.blocks)
    memory.evict(0)
    host = memory.blocks[0]
    assert (host.form, host.inputs) == ("embeddings", None) and host.pictures is device.pictures
    memory.give(Tier.HOST)
    memory.check()
    assert forms(pipeline) == ["pictures", *["embeddings"] * 3]
    assert where(memory) == [Tier.DISK, *[Tier.HOST] * 3]
    assert memory.blocks[0].pictures is None
    assert len(everything(memory)) == 4


@pytest.mark.parametrize("host", ["exact", "pictures"])
def test_a_snapshot_has_them_and_a_restart_changes_nothing(
    vlm: QwenVL, host: Any, tmp_path: Path
) -> None:
    rungs = lower(PLENTY, PLENTY, host, "pictures")
    pipeline = watched(vlm, storage(vlm, *rungs, folder=tmp_path))
    memory = pipeline.memory
    for tier in (Tier.DEVICE, Tier.DEVICE, Tier.HOST):
        memory.give(tier)
    assert where(memory) == [Tier.DISK, Tier.HOST, Tier.DEVICE, Tier.DEVICE]
    again = restarted(pipeline, storage(vlm, *rungs, folder=tmp_path), tmp_path)
    for _ in range(2):
        pairs = zip(memory.blocks, again.memory.blocks, strict=True)
        for one, two in pairs:
            assert (one.tier, one.form, one.num_bytes) == (two.tier, two.form, two.num_bytes)
            assert (one.pictures is None) == (two.pictures is None)
        read = zip(everything(memory), everything(again.memory), strict=True)
        assert all(equal(one.kv, two.kv) for one, two in read)
        for each in (memory, again.memory):
            each.evict(0)
            each.check()


def restarted(pipeline: StreamPipeline, kept: Storage, folder: Path) -> StreamPipeline:
    snapshot = pipeline.snapshot()
    assert snapshot is not None
    SnapshotFolder(folder, ABOUT).save(snapshot)
    found = SnapshotFolder(folder, ABOUT).load(PLENTY, CPU, PLENTY)
    assert found is not None
    again = make_pipeline(pipeline._vlm, storage=kept)  # type: ignore[arg-type]
    again.restore(found)
    return again


def test_they_are_seen_again_where_the_config_wants_no_more_of_them(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline = watched(vlm, storage(vlm, *lower(PLENTY, host="pictures")))
    pipeline.memory.evict(0)
    again = restarted(pipeline, storage(vlm, *lower(PLENTY, host="int8")), tmp_path)
    assert forms(again) == ["pictures"] * 4
    read = zip(everything(pipeline.memory), everything(again.memory), strict=True)
    assert all(equal(one.kv, two.kv) for one, two in read)


def test_what_has_no_pictures_becomes_the_next_best_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Out of a snapshot of before, or because the encoder was asked for none."""
    vlm = tiny_vlm("qwen3-vl")
    before = watched(vlm, storage(vlm, *lower(PLENTY)))
    after = restarted(before, storage(vlm, *lower(PLENTY, host="pictures")), tmp_path)
    unseen = watched(
        vlm, storage(vlm, *lower(PLENTY, PLENTY, "embeddings", "pictures"), folder=tmp_path),
        keeps_pictures=False,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        after.memory.evict(0)
        unseen.memory.evict(0)
        unseen.memory.give(Tier.HOST)
    assert forms(after) == ["int4"] * 4
    assert forms(unseen) == ["embeddings"] * 4 and where(unseen.memory)[0] is Tier.DISK
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "block 0 lacks what pictures are made from: it and others like it are int4 on the host",
        "block 0 lacks what pictures are made from: it and others like it are embeddings on the "
        "disk",
    ]
    assert [one.form for one in after.status().tiers] == ["int4"]
    assert len(everything(after.memory)) == len(everything(unseen.memory)) == 4


def test_a_segment_that_fits_without_its_pictures_only_is_refused() -> None:
    vlm = tiny_vlm("qwen3-vl")
    wanting = storage(vlm, *lower(PLENTY, host="pictures"))
    pipeline = watched(vlm, wanting, num_clips=SEGMENT_CLIPS)
    (block,) = pipeline.memory.blocks
    assert isinstance(block.kv, RawKV)
    room = block.kv.num_bytes
    watched(vlm, storage(vlm, *lower(PLENTY)), num_clips=SEGMENT_CLIPS, budget_bytes=room)
    with pytest.raises(CapacityError, match=f"takes {block.num_bytes} bytes"):
        watched(vlm, wanting, num_clips=SEGMENT_CLIPS, budget_bytes=room)
    watched(vlm, wanting, num_clips=SEGMENT_CLIPS, budget_bytes=block.num_bytes)


def test_a_damaged_picture_is_a_block_forgotten(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    kept = storage(vlm, *lower(disk_bytes=PLENTY, disk="pictures"), folder=tmp_path)
    memory = watched(vlm, kept).memory
    memory.evict(0)
    flip(on_disk(memory)[1].path)
    assert [block.block_id for block in everything(memory)] == [0, 2, 3]


def test_nothing_new_makes_the_block_longer_and_moves_nothing(vlm: QwenVL) -> None:
    pipeline = watched(vlm, storage(vlm, *lower(PLENTY, host="pictures")))
    pipeline.memory.evict(0)
    before = everything(pipeline.memory)[-1]
    still = make_clip(4 * SEGMENT_CLIPS, make_clip(4 * SEGMENT_CLIPS - 1).pixels)
    pipeline.extend(still)
    after = everything(pipeline.memory)[-1]
    assert after.interval == replace(before.interval, end=still.interval.end)
    assert equal(before.kv, after.kv)


def test_pictures_on_their_way_change_nothing_else(vlm: QwenVL) -> None:
    plain, pictured = (
        watched(vlm, kept, {"name": "dtd"})
        for kept in (Storage(), storage(vlm, *lower(PLENTY, host="pictures")))
    )
    pairs = zip(everything(plain.memory), everything(pictured.memory), strict=True)
    assert all(equal(one.kv, two.kv) for one, two in pairs)
