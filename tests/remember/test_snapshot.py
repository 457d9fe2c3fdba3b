"""Snapshots: what is read is what was written, bit for bit, and what is damaged or foreign is told
(I12).
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from streamvlm.errors import FencedError, SnapshotError, SnapshotMismatchError
from streamvlm.gaps import RESTARTED
from streamvlm.pipeline import StreamPipeline
from streamvlm.remember import SnapshotFolder, files
from streamvlm.remember.memory import IDS_BETWEEN_SNAPSHOTS
from streamvlm.remember.snapshot import SNAPSHOT_DAMAGED, Snapshot
from streamvlm.types import Summary
from streamvlm.vlm import load
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, make_gap, tiny_vlm
from tests.streams import ask, feed, make_pipeline, streamed_logits

CPU = torch.device("cpu")
PLENTY = 2**30


def about(vlm: QwenVL, source: str = "rtsp://cam/1") -> dict[str, str | int]:
    return {"stream": "door", "source": source, **vlm.identity}


def watched(vlm: QwenVL, num_clips: int = 4) -> StreamPipeline:
    """A pipeline with a block a clip and nothing else."""
    pipeline = make_pipeline(vlm)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(num_clips)])
    return pipeline


def go_on(vlm: QwenVL, pipeline: StreamPipeline, first: int, number: int) -> None:
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(first, first + number)])


def taken(pipeline: StreamPipeline) -> Snapshot:
    snapshot = pipeline.snapshot()
    assert snapshot is not None
    return snapshot


def read(folder: Path, vlm: QwenVL, budget_bytes: int = PLENTY) -> Snapshot:
    snapshot = SnapshotFolder(folder, about(vlm)).load(budget_bytes, CPU)
    assert snapshot is not None
    return snapshot


def saved(folder: Path, vlm: QwenVL, num_clips: int = 4) -> StreamPipeline:
    pipeline = watched(vlm, num_clips)
    SnapshotFolder(folder, about(vlm)).save(taken(pipeline))
    return pipeline


def manifests(folder: Path) -> list[Path]:
    return sorted(folder.glob("manifest-*.json"))


def blocks_in(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("block-*")}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_restored_stream_answers_with_identical_logits(
    family: str, dtype: str, tmp_path: Path
) -> None:
    """I12, and I15 on the way to a file and back."""
    vlm = tiny_vlm(family, dtype)
    before = saved(tmp_path, vlm)
    after = make_pipeline(vlm)
    after.restore(read(tmp_path, vlm))
    for one, two in zip(before.memory.blocks, after.memory.blocks, strict=True):
        assert one.kv.keys.dtype is two.kv.keys.dtype is vlm.dtype
        for name in ("keys", "values", "positions"):
            assert torch.equal(getattr(one.kv, name), getattr(two.kv, name))
        for each in fields(Summary):
            assert torch.equal(getattr(one.summary, each.name), getattr(two.summary, each.name))
        assert torch.equal(one.is_visual, two.is_visual)
        assert (one.block_id, one.interval, one.clip_lengths) == (
            two.block_id, two.interval, two.clip_lengths,
        )  # fmt: skip
    logits, _ = streamed_logits(ask(before, "What happens?"), 4)
    again, _ = streamed_logits(ask(after, "What happens?"), 4)
    assert all(torch.equal(one, two) for one, two in zip(logits, again, strict=True))
    assert after.status() == replace(before.status(), reduction_bytes=0)


def test_a_restored_stream_goes_on_as_the_other_would_have(vlm: QwenVL, tmp_path: Path) -> None:
    before = saved(tmp_path, vlm)
    after = make_pipeline(vlm)
    after.restore(read(tmp_path, vlm))
    for pipeline in (before, after):
        go_on(vlm, pipeline, 4, 3)
    old, new = before.memory.blocks, after.memory.blocks
    assert [block.block_id for block in new[4:]] == [IDS_BETWEEN_SNAPSHOTS + i for i in (4, 5, 6)]
    for one, two in zip(old, new, strict=True):
        assert torch.equal(one.kv.positions, two.kv.positions)
        assert torch.equal(one.kv.keys, two.kv.keys)
    after.memory.check()


@pytest.mark.gpu
def test_blocks_come_back_to_the_gpu_bit_for_bit(family: str, tmp_path: Path) -> None:
    """I15: from the GPU to a file, by way of the CPU, and back."""
    vlm = load(f"random:{family}-tiny", dtype="bfloat16", device="cuda")
    blocks = saved(tmp_path, vlm).memory.blocks
    found = SnapshotFolder(tmp_path, about(vlm)).load(PLENTY, vlm.device)
    assert found is not None and blocks[0].kv.keys.is_cuda
    for one, two in zip(blocks, found.blocks, strict=True):
        assert two.kv.keys.is_cuda
        assert torch.equal(one.kv.keys, two.kv.keys) and torch.equal(one.kv.values, two.kv.values)


def test_what_was_in_no_block_is_a_gap_by_then(vlm: QwenVL, tmp_path: Path) -> None:
    pipeline = make_pipeline(vlm, fresh_clips=2, segment_clips=3)
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(7)])
    pipeline.interrupt(make_gap(7.0, 9.0))
    SnapshotFolder(tmp_path, about(vlm)).save(taken(pipeline))
    after = make_pipeline(vlm, fresh_clips=2, segment_clips=3)
    snapshot = read(tmp_path, vlm)
    after.restore(snapshot)
    lost, blind = after.status().gaps
    assert (lost.reason, lost.interval.start.pts_seconds, lost.interval.end.pts_seconds) == (
        RESTARTED, 3, 7,
    )  # fmt: skip
    assert blind.interval.duration_seconds == 2
    assert (snapshot.seen_until.pts_seconds, snapshot.next_clip_index) == (9, 7)
    assert [block.interval.end.pts_seconds for block in after.memory.blocks] == [3]


def test_only_new_blocks_are_written_and_old_ones_go(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline, folder = watched(vlm, 3), SnapshotFolder(tmp_path, about(vlm))
    folder.save(taken(pipeline))
    inodes = {path.name: path.stat().st_ino for path in tmp_path.glob("block-*")}
    go_on(vlm, pipeline, 3, 2)
    folder.save(taken(pipeline))
    now = {path.name: path.stat().st_ino for path in tmp_path.glob("block-*")}
    assert len(inodes) == 3 and len(now) == 5 and inodes.items() <= now.items()
    pipeline.memory.evict(2 * pipeline.memory.blocks[0].kv.num_bytes)
    folder.save(taken(pipeline))
    assert len(blocks_in(tmp_path)) == 5, "the snapshot before is whole, too"
    folder.save(taken(pipeline))
    assert len(blocks_in(tmp_path)) == 2 and len(manifests(tmp_path)) == 2
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert folder.num_bytes == size


def test_a_smaller_budget_leaves_out_the_oldest(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    before = saved(tmp_path, vlm)
    each = before.memory.blocks[0].kv.num_bytes
    snapshot = read(tmp_path, vlm, budget_bytes=2 * each + each // 2)
    assert [block.block_id for block in snapshot.blocks] == [2, 3]
    assert (snapshot.num_evicted, snapshot.gaps) == (2, ())
    after = make_pipeline(vlm, budget_bytes=3 * each)
    after.restore(snapshot)
    assert after.status().evicted_blocks == 2
    assert read(tmp_path, vlm, budget_bytes=each - 1).blocks == ()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


DAMAGE = [cut, flip, empty, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_block_is_a_gap_and_the_others_load(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    before = saved(tmp_path, vlm)
    damage(sorted(tmp_path.glob("block-*"))[1])
    snapshot = read(tmp_path, vlm)
    assert [block.block_id for block in snapshot.blocks] == [0, 2, 3]
    (gap,) = snapshot.gaps
    assert (gap.reason, gap.interval) == (SNAPSHOT_DAMAGED, before.memory.blocks[1].interval)
    after = make_pipeline(vlm)
    after.restore(snapshot)
    go_on(vlm, after, 4, 1)
    SnapshotFolder(tmp_path / "next", about(vlm)).save(taken(after))
    assert len(read(tmp_path / "next", vlm).blocks) == 4


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_manifest_before_a_damaged_one_is_used(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline, folder = watched(vlm), SnapshotFolder(tmp_path, about(vlm))
    folder.save(taken(pipeline))
    go_on(vlm, pipeline, 4, 1)
    folder.save(taken(pipeline))
    damage(manifests(tmp_path)[-1])
    opened = SnapshotFolder(tmp_path, about(vlm))
    found = opened.load(PLENTY, CPU)
    assert found is not None and len(found.blocks) == 4
    after = make_pipeline(vlm)
    after.restore(found)
    go_on(vlm, after, 4, 2)
    opened.save(taken(after))
    assert len(read(tmp_path, vlm).blocks) == 6


def test_where_no_manifest_is_whole_that_is_said(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    saved(tmp_path, vlm)
    flip(manifests(tmp_path)[0])
    folder = SnapshotFolder(tmp_path, about(vlm))
    with pytest.raises(SnapshotError, match=r"no snapshot in .* is whole: manifest-00000001.json"):
        folder.load(PLENTY, CPU)
    folder.save(taken(watched(vlm, 1)))
    assert len(read(tmp_path, vlm).blocks) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\x00", "null", '"x"'])
def test_what_is_no_manifest_is_no_snapshot(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest-00000001.json").write_text(text)
    with pytest.raises(SnapshotError, match="is whole"):
        read(tmp_path, tiny_vlm("qwen3-vl"))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"source": "rtsp://cam/2"}, "source: .*'rtsp://cam/1', now it is 'rtsp://cam/2'"),
        ({"model": "other"}, "model: .*'random:qwen3-vl-tiny', now it is 'other'"),
        ({"dtype": "bfloat16"}, "dtype: .*'float32', now it is 'bfloat16'"),
        ({"layers": 99}, "layers: the snapshot was taken with 4, now it is 99"),
        ({"rope": "{}"}, "rope: .*rope_theta.*, now it is '{}'"),
        ({"positions": "by_time"}, "positions: .*'by_order', now it is 'by_time'"),
        ({"weights_sha256": "0"}, "weights_sha256: "),
        ({"new": 1}, "new: the snapshot was taken with None, now it is 1"),
    ],
)
def test_a_foreign_snapshot_is_refused_by_the_field(
    other: dict[str, str | int], said: str, tmp_path: Path
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    saved(tmp_path, vlm)
    names = {path.name for path in tmp_path.iterdir()}
    folder = SnapshotFolder(tmp_path, about(vlm) | other)
    with pytest.raises(SnapshotMismatchError, match=said):
        folder.load(PLENTY, CPU)
    assert {path.name for path in tmp_path.iterdir()} == names, "it is left as it was"
    folder.save(taken(watched(vlm, 1)))
    assert len(blocks_in(tmp_path)) == 1 and len(manifests(tmp_path)) == 1


def test_another_format_is_refused(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    saved(tmp_path, vlm)
    (path,) = manifests(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    with pytest.raises(SnapshotMismatchError, match=r"format: the snapshot has 1, .* reads 2"):
        read(tmp_path, vlm)


def test_models_differ_in_what_their_weights_are(tmp_path: Path) -> None:
    one, two = tiny_vlm("qwen3-vl"), load("random:qwen3-vl-tiny", device="cpu")
    assert one.identity == two.identity
    with torch.no_grad():
        two._text_model.layers[0].mlp.up_proj.weight.mul_(1.5)
    del two.identity
    differing = {name for name in one.identity if one.identity[name] != two.identity[name]}
    assert differing == {"weights_sha256"}


def test_who_loaded_last_goes_on_and_the_other_one_is_told(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline, first = watched(vlm), SnapshotFolder(tmp_path, about(vlm))
    first.save(taken(pipeline))
    second = SnapshotFolder(tmp_path, about(vlm))
    found = second.load(PLENTY, CPU)
    assert found is not None
    names = {path.name for path in tmp_path.iterdir()}
    go_on(vlm, pipeline, 4, 1)
    with pytest.raises(FencedError, match="another worker writes"):
        first.save(taken(pipeline))
    assert {path.name for path in tmp_path.iterdir()} == names
    second.save(found)
    assert len(read(tmp_path, vlm).blocks) == 4
    second.load(PLENTY, CPU)
    second.erase()
    with pytest.raises(FencedError, match="erased"):
        second.save(found)
    assert not tmp_path.exists(), "what was erased does not come back"


def test_a_full_disk_costs_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_vlm("qwen3-vl")
    pipeline, folder = watched(vlm), SnapshotFolder(tmp_path, about(vlm))
    folder.save(taken(pipeline))
    go_on(vlm, pipeline, 4, 2)
    real, left = files._finished, 1

    def full(path: Path, data: bytes) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_finished", full)
        with pytest.raises(OSError, match="No space"):
            folder.save(taken(pipeline))
    assert not list(tmp_path.glob("*unfinished"))
    _, whole = SnapshotFolder(tmp_path, about(vlm))._newest_whole([1])
    assert len(whole.blocks) == 4
    folder.save(taken(pipeline))
    assert len(read(tmp_path, vlm).blocks) == 6


def test_what_cannot_be_written_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    saved(tmp_path, vlm)

    def read_only(path: Path, data: bytes) -> Path:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(files, "_finished", read_only)
    assert len(read(tmp_path, vlm).blocks) == 4


def test_nothing_seen_is_no_snapshot_and_nothing_there_is_none(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    assert make_pipeline(vlm).snapshot() is None
    folder = SnapshotFolder(tmp_path / "none", about(vlm))
    assert folder.load(PLENTY, CPU) is None
    folder.erase()
    folder.save(taken(watched(vlm, 1)))
    folder.erase()
    assert not (tmp_path / "none").exists()
