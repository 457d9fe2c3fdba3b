"""When the engine takes snapshots, and that nothing that happens to them stops a stream."""

from __future__ import annotations

import errno
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.errors import ConfigError
from streamvlm.gaps import RESTARTED
from streamvlm.remember import SnapshotFolder, entries, files
from streamvlm.snapshots import KeptStream
from streamvlm.types import ClockSource, Run, Tier
from tests.conftest import at, tiny_vlm
from tests.test_engine import ListFeed, clips, settle

SOURCE = "rtsp://cam/1"


def make_engine(folder: Path, **remember: Any) -> StreamEngine:
    config = Config.model_validate(
        {
            "reduce": {"name": "all"},
            "remember": {"segment_clips": 1, "budget_bytes": 2**26, **remember},
            "respond": {"fresh_clips": 1},
        }
    )
    return StreamEngine(tiny_vlm("qwen3-vl"), config, snapshot_folder=folder)


def watch(
    engine: StreamEngine, count: int = 4, source: str = SOURCE, stream_id: str = "door"
) -> KeptStream:
    kept = engine.snapshots.open(stream_id, source)
    feed = ListFeed()
    feed.waiting.extend(clips(count, stream_id))
    engine.add_stream(stream_id, source, feed, kept=kept)
    settle(engine)
    return kept


def run_to_its_end(engine: StreamEngine) -> None:
    """As a service that is told to end at once."""
    engine.stop()
    engine.run()


def test_what_a_stream_remembers_outlives_the_engine(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    assert watch(engine).snapshot is None
    before = engine.get_stream("door").memory
    run_to_its_end(engine)
    engine = make_engine(tmp_path)
    assert watch(engine, count=0).snapshot is not None
    memory = engine.get_stream("door").memory
    assert (memory.blocks, memory.clips_encoded, memory.kv_bytes) == (3, 4, before.kv_bytes)
    assert [(gap.reason, gap.interval.start.pts_seconds) for gap in memory.gaps] == [(RESTARTED, 3)]
    assert memory.remembered is not None and memory.remembered.start.pts_seconds == 0


@pytest.mark.parametrize(("seconds", "written"), [(1e-6, True), (3600.0, False), (0.0, False)])
def test_snapshots_are_taken_at_their_interval(
    seconds: float, written: bool, tmp_path: Path
) -> None:
    engine = make_engine(tmp_path, snapshot_seconds=seconds)
    watch(engine)
    engine.snapshots.take_due()
    engine.snapshots._writer.shutdown()
    assert list(tmp_path.glob("*/manifest-*")) == (
        [] if not written else [*tmp_path.glob("*/m*1.*")]
    )
    assert bool(list(tmp_path.iterdir())) is written
    statuses = engine.snapshots.status()
    assert [status.age_seconds is not None for status in statuses] == ([written] * (seconds > 0))
    if written:
        size = sum(path.stat().st_size for path in tmp_path.glob("*/*"))
        assert statuses[0].num_bytes == size > engine.get_stream("door").memory.kv_bytes


def test_a_snapshot_that_is_being_written_is_not_taken_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, may_go_on, saves = make_engine(tmp_path, snapshot_seconds=1e-6), threading.Event(), []
    watch(engine)

    def slow(self: SnapshotFolder, snapshot: object) -> None:
        saves.append(snapshot)
        assert may_go_on.wait(60)

    monkeypatch.setattr(SnapshotFolder, "save", slow)
    for _ in range(5):
        engine.snapshots.take_due()
    may_go_on.set()
    engine.snapshots._writer.shutdown()
    assert len(saves) == 1


def test_where_nothing_can_be_written_streams_go_on_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(tmp_path, snapshot_seconds=1e-6)
    kept = engine.snapshots.open("door", SOURCE)
    feed = ListFeed()
    engine.add_stream("door", SOURCE, feed, kept=kept)

    def full(path: Path, data: bytes) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(files, "_finished", full)
        for index in range(3):
            feed.waiting.extend(clips(1, first=index))
            settle(engine)
            engine.snapshots.take_due()
            engine.snapshots._writer.submit(int).result(60)
        assert engine.snapshots.num_failures == 3
        warnings = [each for each in caplog.messages if "no snapshot written" in each]
        assert len(warnings) == 1 and "No space left" in warnings[0]
    with caplog.at_level(logging.INFO):
        run_to_its_end(engine)
    assert "stream door: snapshots are written again" in caplog.messages
    assert watch(make_engine(tmp_path), count=0).snapshot is not None


def test_another_source_or_model_begins_anew_and_is_told_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(tmp_path)
    watch(engine)
    run_to_its_end(engine)
    engine = make_engine(tmp_path)
    assert watch(engine, count=2, source="rtsp://cam/2").snapshot is None
    assert "source: the snapshot was taken with 'rtsp://cam/1', now it is" in caplog.text
    run_to_its_end(engine)
    assert watch(make_engine(tmp_path), count=0, source="rtsp://cam/2").snapshot is not None


def test_a_stream_that_has_no_room_on_the_device_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(tmp_path)
    watch(engine)
    run_to_its_end(engine)
    engine = make_engine(tmp_path)
    real, left = entries.read, 2

    def no_room(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise torch.OutOfMemoryError("out of memory")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(entries, "read", no_room)
        assert watch(engine, count=0).snapshot is None
    stream = engine._streams.get("door")
    assert isinstance(stream.feed, ListFeed)
    stream.feed.waiting.extend(clips(6, first=20))
    settle(engine)
    blocks = stream.pipeline.memory.blocks
    run_to_its_end(engine)
    kept = make_engine(tmp_path).snapshots.open("door", SOURCE).snapshot
    assert kept is not None
    for one, two in zip(kept.blocks, blocks, strict=True):
        assert one.block_id == two.block_id and torch.equal(one.kv.keys, two.kv.keys)


def test_erased_is_erased_whoever_still_writes(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    watch(engine)
    watch(engine, stream_id="other")
    engine.snapshots.take_due()
    engine.remove_stream("door")
    engine.snapshots.erase("door")
    engine.snapshots.erase("unknown")
    run_to_its_end(engine)
    assert [path.name for path in tmp_path.iterdir()] == ["stream-other"]


def test_all_tiers_outlive_the_engine_and_are_erased_with_it(tmp_path: Path) -> None:
    tiers = {"budget_bytes": 480_000, "host_budget_bytes": 100_000, "host_form": "int8"}
    tiers |= {"disk_budget_bytes": 2**26, "disk_form": "int4"}
    engine = make_engine(tmp_path, **tiers)
    watch(engine, count=20)
    before = engine.get_stream("door").memory
    assert [each.tier for each in before.tiers] == list(Tier) and before.evicted_blocks == 0
    run_to_its_end(engine)
    engine = make_engine(tmp_path, **tiers)
    (tmp_path / "stream-door" / "tier-of-a-killed-process").mkdir()
    watch(engine, count=0)
    assert engine.get_stream("door").memory.tiers == before.tiers
    assert not (tmp_path / "stream-door" / "tier-of-a-killed-process").exists()
    assert list(tmp_path.glob("stream-door/tier-*/block-*"))
    engine.remove_stream("door")
    engine.snapshots.erase("door")
    run_to_its_end(engine)
    assert not list(tmp_path.iterdir())


def test_a_disk_tier_needs_a_folder() -> None:
    config = Config.model_validate({"remember": {"disk_budget_bytes": 1}})
    engine = StreamEngine(tiny_vlm("qwen3-vl"), config)
    with pytest.raises(ConfigError, match=r"remember.disk_budget_bytes = 1 needs a folder"):
        engine.add_stream("door", SOURCE, ListFeed())


def test_what_another_worker_holds_by_now_is_left_to_it(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    watch(engine)
    engine.remove_stream("door")
    run_to_its_end(engine)
    assert not list(tmp_path.iterdir())


def test_a_file_is_read_again_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(tmp_path)
    watch(engine)
    stream = engine._streams.get("door")
    remembered = stream.memory.remembered
    assert remembered is not None and remembered.end.clock is ClockSource.CLIENT
    monkeypatch.setattr(type(stream), "can_wait", property(lambda _: True))
    run_to_its_end(engine)
    assert not list(tmp_path.iterdir())


def test_an_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "snapshots")
    (tmp_path / "stays").write_text("")
    for stream_id in ("..", "../..", "."):
        watch(engine, stream_id=stream_id, count=1)
        engine.snapshots.erase(stream_id)
        engine.remove_stream(stream_id)
    assert (tmp_path / "stays").exists()


def test_the_run_of_the_feed_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(tmp_path)
    watch(engine)
    run = Run(run_id="one", shift_seconds=3.5, shift_clips=7)
    feed = engine._streams.get("door").feed
    status = feed.status()
    monkeypatch.setattr(feed, "status", lambda: type(status)(state=status.state, run=run))
    run_to_its_end(engine)
    kept = make_engine(tmp_path).snapshots.open("door", SOURCE).snapshot
    assert kept is not None and kept.run == run
    assert kept.seen_until == at(4.0)
