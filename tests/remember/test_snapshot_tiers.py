"""Snapshots of blocks in every tier: each is stored as it is held, and comes back where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streamvlm.pipeline import StreamPipeline
from streamvlm.remember import Rung, SnapshotFolder, Storage, files
from streamvlm.remember.quantise import QuantisedKV
from streamvlm.remember.snapshot import SNAPSHOT_DAMAGED, Snapshot
from streamvlm.remember.stored import FileKV, StoredBlock
from streamvlm.types import RawKV, Tier
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.remember.test_snapshot import CPU, PLENTY, about, go_on, taken
from tests.streams import ask, feed, make_pipeline, streamed_logits

ALL_TIERS = [Tier.DISK] * 3 + [Tier.HOST] * 2 + [Tier.DEVICE] * 2


@pytest.fixture
def vlm() -> QwenVL:
    return tiny_vlm("qwen3-vl")


def block_bytes(vlm: QwenVL) -> int:
    pipeline = make_pipeline(vlm)
    feed(pipeline, [make_clip(0, size=clip_size(vlm))])
    return pipeline.memory.num_bytes


def tiered(vlm: QwenVL, folder: Path, num_clips: int = 7, has_disk: bool = True) -> StreamPipeline:
    """A block a clip: two on the device, two in eight bits on the host, the rest in files in four
    bits.
    """
    each = block_bytes(vlm)
    rungs = [Rung(tier=Tier.HOST, budget_bytes=each, form="int8")]
    if has_disk:
        rungs.append(Rung(tier=Tier.DISK, budget_bytes=PLENTY, form="int4"))
    storage = Storage(lower=tuple(rungs), folder=folder)
    pipeline = make_pipeline(vlm, storage=storage, budget_bytes=2 * each + each // 2)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(num_clips)])
    return pipeline


def read(folder: Path, vlm: QwenVL) -> Snapshot:
    found = SnapshotFolder(folder, about(vlm)).load(PLENTY, CPU, PLENTY)
    assert found is not None
    return found


def held(block: StoredBlock) -> list[torch.Tensor | str]:
    """All that is stored of keys and values, bit for bit."""
    match block.kv:
        case RawKV() as kv:
            return [kv.keys, kv.values, kv.positions]
        case QuantisedKV() as kv:
            return [kv.codes, kv.key_grid, kv.value_grid, kv.positions]
        case FileKV() as kv:
            return [kv.sha256]


def test_every_block_comes_back_as_it_was_held_and_where_it_was(
    vlm: QwenVL, tmp_path: Path
) -> None:
    before = tiered(vlm, tmp_path)
    assert [block.tier for block in before.memory.blocks] == ALL_TIERS
    SnapshotFolder(tmp_path, about(vlm)).save(taken(before))
    after = tiered(vlm, tmp_path, num_clips=0)
    after.restore(read(tmp_path, vlm))
    for one, two in zip(before.memory.blocks, after.memory.blocks, strict=True):
        assert (one.block_id, one.tier, one.form) == (two.block_id, two.tier, two.form)
        assert torch.equal(one.summary.keys, two.summary.keys)
        for old, new in zip(held(one), held(two), strict=True):
            assert old == new if isinstance(old, str) else torch.equal(old, new)
    assert after.status() == replace(before.status(), reduction_bytes=0)
    logits, _ = streamed_logits(ask(before, "What happens?"), 3)
    again, _ = streamed_logits(ask(after, "What happens?"), 3)
    assert all(torch.equal(one, two) for one, two in zip(logits, again, strict=True))
    go_on(vlm, after, 7, 2)
    after.memory.check()


def test_a_block_on_the_disk_is_not_written_again(vlm: QwenVL, tmp_path: Path) -> None:
    pipeline = tiered(vlm, tmp_path)
    SnapshotFolder(tmp_path, about(vlm)).save(taken(pipeline))
    for block in pipeline.memory.blocks[:3]:
        assert isinstance(block.kv, FileKV)
        kept = tmp_path / block.kv.path.name
        assert kept.samefile(block.kv.path) and kept != block.kv.path


def test_where_files_cannot_have_two_names_they_are_copied(
    vlm: QwenVL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = tiered(vlm, tmp_path)
    real = files.os.link

    def no_links(old: Path, new: Path) -> None:
        if new.name.startswith("block-"):
            raise PermissionError("no links here")
        real(old, new)

    monkeypatch.setattr(files.os, "link", no_links)
    SnapshotFolder(tmp_path, about(vlm)).save(taken(pipeline))
    after = tiered(vlm, tmp_path, num_clips=0)
    after.restore(read(tmp_path, vlm))
    assert [block.tier for block in after.memory.blocks] == ALL_TIERS


def test_a_block_that_was_shrunk_since_is_stored_anew(vlm: QwenVL, tmp_path: Path) -> None:
    pipeline, folder = tiered(vlm, tmp_path), SnapshotFolder(tmp_path, about(vlm))
    folder.save(taken(pipeline))
    go_on(vlm, pipeline, 7, 2)
    for _ in range(2):
        folder.save(taken(pipeline))
    found = read(tmp_path, vlm)
    assert [block.form for block in found.blocks] == ["int4"] * 5 + ["int8"] * 2 + ["exact"] * 2
    assert len(list(tmp_path.glob("block-*"))) == 9, "the finer files are gone"


def test_a_snapshot_keeps_files_of_blocks_that_are_forgotten_meanwhile(
    vlm: QwenVL, tmp_path: Path
) -> None:
    pipeline = tiered(vlm, tmp_path)
    snapshot = taken(pipeline)
    for block_id in range(3):
        pipeline.memory._forget(block_id)
    SnapshotFolder(tmp_path, about(vlm)).save(snapshot)
    assert len(read(tmp_path, vlm).blocks) == 7


def test_a_damaged_file_of_the_disk_tier_is_a_gap(vlm: QwenVL, tmp_path: Path) -> None:
    pipeline = tiered(vlm, tmp_path)
    SnapshotFolder(tmp_path, about(vlm)).save(taken(pipeline))
    sorted(tmp_path.glob("block-*"))[1].write_bytes(b"")
    found = read(tmp_path, vlm)
    assert [block.block_id for block in found.blocks] == [0, 2, 3, 4, 5, 6]
    assert [gap.reason for gap in found.gaps] == [SNAPSHOT_DAMAGED]


def test_tiers_that_are_gone_cost_their_blocks_only(vlm: QwenVL, tmp_path: Path) -> None:
    pipeline = tiered(vlm, tmp_path)
    SnapshotFolder(tmp_path, about(vlm)).save(taken(pipeline))
    found = SnapshotFolder(tmp_path, about(vlm)).load(PLENTY, CPU)
    assert found is not None and found.num_evicted == 3
    after = tiered(vlm, tmp_path, num_clips=0, has_disk=False)
    after.restore(found)
    assert [block.tier for block in after.memory.blocks] == ALL_TIERS[3:]
    bare = make_pipeline(vlm)
    bare.restore(read(tmp_path, vlm))
    assert [block.block_id for block in bare.memory.blocks] == [5, 6]
    assert bare.memory.num_evicted == 5
    bare.memory.check()


def test_what_is_erased_takes_the_disk_tier_along(vlm: QwenVL, tmp_path: Path) -> None:
    pipeline = tiered(vlm, tmp_path / "door")
    folder = SnapshotFolder(tmp_path / "door", about(vlm))
    folder.save(taken(pipeline))
    folder.erase()
    assert not list(tmp_path.iterdir())
    go_on(vlm, pipeline, 7, 1)
    pipeline.memory.check()
    assert pipeline.memory.num_lost == 4, "three that were there, and one that came"
    assert not list(tmp_path.iterdir())
