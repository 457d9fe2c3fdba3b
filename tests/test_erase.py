"""What was erased is nowhere: not in the tensors that live, not in a file, not behind a kill."""

from __future__ import annotations

import errno
import gc
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.erasure import Erased, touches
from streamvlm.errors import (
    EngineStoppedError,
    ErasureError,
    InvalidInputError,
    NotErasedError,
    StreamNotFoundError,
)
from streamvlm.gaps import ERASED
from streamvlm.remember import SnapshotFolder, block_file
from streamvlm.remember.pictures import Pictures
from streamvlm.remember.quantise import QuantisedKV
from streamvlm.remember.stored import FileKV, StoredBlock
from streamvlm.types import (
    AnswerEvent,
    AnswerFinished,
    AnswerStarted,
    Clip,
    FinishReason,
    InputTokens,
    RawKV,
    Tier,
    UtcInterval,
)
from tests.conftest import START_UTC, make_clip, tiny_vlm
from tests.remember.test_snapshot_killed import ABOUT, CPU, made_block, snapshot_of
from tests.test_engine import ListFeed, clips, question, settle
from tests.test_snapshots import SOURCE, make_engine, run_to_its_end, watch

SIGNATURE_BYTES = 64
ROOM_FOR_ONE, ROOM_FOR_ONE_SHRUNK = 50_000, 20_000
"""Bytes in which one block of the made-up stream fits, and not two."""


@pytest.fixture(autouse=True)
def _only_what_comes() -> Iterator[None]:
    """`found_alive` looks at what was made since: other tests keep clips that look the same."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def span(start_seconds: float, end_seconds: float) -> UtcInterval:
    """Of the made-up stream, whose clips last a second."""
    return UtcInterval(start_seconds=START_UTC + start_seconds, end_seconds=START_UTC + end_seconds)


def erase(engine: StreamEngine, some: UtcInterval, stream_id: str = "door") -> Erased:
    done = engine.erase(stream_id, some)
    settle(engine)
    return done.result(60)


def signatures(tensors: Iterable[Tensor]) -> list[bytes]:
    """Bytes out of the middle of each, which nothing else has."""
    flat = [tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in tensors]
    starts = [len(data) // 16 * 8 for data in flat]
    return [data[i : i + SIGNATURE_BYTES] for data, i in zip(flat, starts, strict=True)]


def of_blocks(blocks: Iterable[StoredBlock]) -> list[bytes]:
    """Of keys, values, embeddings, pictures and summaries, wherever they lie."""
    return signatures(tensor for block in blocks for tensor in tensors_of(block))


def tensors_of(block: StoredBlock) -> list[Tensor]:
    kv, inputs, pictures = block.kv, block.inputs, block.pictures
    if isinstance(kv, FileKV):
        kv = block_file.read(kv.path, kv.num_bytes, kv.sha256).kv
    if isinstance(kv, InputTokens):
        inputs = kv
    if isinstance(kv, Pictures):
        pictures = kv
    held = [] if pictures is None else [*pictures.packed]
    if inputs is not None:
        assert inputs.deepstack is not None
        held += [inputs.embeddings, inputs.deepstack]
    if isinstance(kv, RawKV):
        held += [kv.keys, kv.values]
    elif isinstance(kv, QuantisedKV):
        held.append(kv.codes)
    return [*held, block.summary.mean, block.summary.keys]


def found_on_disk(folder: Path, wanted: list[bytes]) -> list[str]:
    """Files that hold any of these."""
    held = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return sorted(path.name for path, data in held.items() if any(each in data for each in wanted))


def found_alive(wanted: list[bytes]) -> int:
    """How many tensors and arrays that anything still reaches hold any of these."""
    gc.collect()
    tracked = gc.get_objects()
    reached = {id(each): each for each in tracked}
    reached |= {id(each): each for each in gc.get_referents(*tracked)}  # arrays are not tracked
    memory = {data.ctypes.data: data for data in map(memory_of, reached.values()) if len(data)}
    beginnings = np.array([np.frombuffer(each[:4], np.uint32)[0] for each in wanted])
    return sum(holds(data, wanted, beginnings) for data in memory.values())


def memory_of(each: object) -> NDArray[np.uint8]:
    """All bytes that a tensor or an array shares, those beside its own too."""
    if type(each) is np.ndarray and each.dtype != object and each.flags.c_contiguous:
        return each.reshape(-1).view(np.uint8)
    if type(each) is Tensor and not each.is_meta:
        whole = torch.empty(0, dtype=torch.uint8)
        whole.set_(each.untyped_storage())  # type: ignore[call-overload]
        return whole.numpy()
    return np.empty(0, np.uint8)


def holds(data: NDArray[np.uint8], wanted: list[bytes], beginnings: NDArray[np.uint32]) -> bool:
    """Numbers are never anywhere but at multiples of four bytes."""
    words = data[: len(data) // 4 * 4].view(np.uint32)
    found = [
        data[4 * i :][:SIGNATURE_BYTES].tobytes() for i in np.isin(words, beginnings).nonzero()[0]
    ]
    return any(each in wanted for each in found)


def blocks_of(engine: StreamEngine) -> tuple[StoredBlock, ...]:
    return engine._streams.get("door").pipeline.memory.blocks


def recent_of(engine: StreamEngine) -> list[bytes]:
    """Of what is in no block yet, and of the newest picture."""
    stream = engine._streams.get("door")
    waiting = stream.pipeline._reduction.waiting
    parts = [*(waiting.clips if waiting else ()), *(f.tokens for f in stream.pipeline._fresh)]
    assert stream.picture is not None
    return signatures([*(part.features for part in parts), torch.from_numpy(stream.picture)])


def feed_more(engine: StreamEngine, some: list[Clip]) -> None:
    feed = engine._streams.get("door").feed
    assert isinstance(feed, ListFeed)
    feed.waiting.extend(some)
    settle(engine)


def save(engine: StreamEngine) -> None:
    engine.snapshots.take_due()
    engine.snapshots._writer.submit(int).result(60)


TIERS: list[dict[str, Any]] = [
    {},
    {"host_budget_bytes": ROOM_FOR_ONE, "disk_budget_bytes": 2**26},
    {
        "host_budget_bytes": ROOM_FOR_ONE_SHRUNK,
        "host_form": "int8",
        "disk_budget_bytes": 2**26,
        "disk_form": "int4",
    },
    {
        "host_budget_bytes": ROOM_FOR_ONE,
        "host_form": "int8",
        "disk_budget_bytes": 2**26,
        "disk_form": "embeddings",
    },
    {
        "host_budget_bytes": ROOM_FOR_ONE,
        "host_form": "int8",
        "disk_budget_bytes": 2**26,
        "disk_form": "pictures",
    },
]


@pytest.mark.parametrize(
    "tiers", TIERS, ids=["device", "exact", "shrunk", "embeddings", "pictures"]
)
def test_what_was_erased_is_in_no_tensor_and_in_no_file(
    tiers: dict[str, Any], tmp_path: Path
) -> None:
    engine = make_engine(tmp_path, snapshot_seconds=1e-6, **tiers)
    watch(engine, count=4)
    memory = engine._streams.get("door").pipeline.memory
    if tiers:
        memory.evict(0)
    save(engine)  # the older snapshot names erased blocks too, and shares files with the disk tier
    feed_more(engine, clips(4, first=4))
    if tiers:
        memory.evict(3 * memory.num_bytes // 4)
    save(engine)
    assert [block.block_id for block in memory.blocks] == list(range(7))
    gone, kept = of_blocks(memory.blocks[1:5]), of_blocks(memory.blocks[:1])
    erased_tiers = [block.tier for block in memory.blocks[1:5]]
    assert set(erased_tiers) == (set(Tier) if tiers else {Tier.DEVICE})
    assert found_alive(gone)
    assert len(found_on_disk(tmp_path, gone)) >= 4 + erased_tiers.count(Tier.DISK)
    erased = erase(engine, span(1.5, 4.5))
    assert found_alive(gone) == 0 and found_on_disk(tmp_path, gone) == []
    assert found_alive(kept) and found_on_disk(tmp_path, kept)
    assert [block.block_id for block in memory.blocks] == [0, 5, 6]
    memory.check()
    assert (erased.num_blocks, erased.num_clips) == (4, 0)
    del memory
    run_to_its_end(engine)
    again = make_engine(tmp_path, **tiers)
    watch(again, count=0)
    assert [block.block_id for block in blocks_of(again)] == [0, 5, 6]
    assert found_on_disk(tmp_path, gone) == []


def test_the_disk_tier_forgets_at_once_and_only_what_it_should(tmp_path: Path) -> None:
    """Without snapshots, and whoever still holds the blocks."""
    engine = make_engine(tmp_path, snapshot_seconds=0.0, disk_budget_bytes=2**26)
    watch(engine, count=6)
    memory = engine._streams.get("door").pipeline.memory
    memory.evict(0)
    held = memory.blocks
    gone, kept = of_blocks(held[1:3]), of_blocks([*held[:1], *held[3:]])
    assert len(found_on_disk(tmp_path, gone)) == 2
    erase(engine, span(1.5, 2.5))
    assert found_on_disk(tmp_path, gone) == [] and len(found_on_disk(tmp_path, kept)) == 3
    assert len(held) == 5 and len(memory.recall(torch.zeros(64), 10).blocks) == 3


def test_an_answer_says_what_was_erased(tmp_path: Path) -> None:
    engine, events = make_engine(tmp_path), list[AnswerEvent]()
    watch(engine, count=8)
    erase(engine, span(2.0, 4.0))
    engine.ask(question(), events.append)
    settle(engine)
    started = events[0]
    assert isinstance(started, AnswerStarted)
    gaps = [
        (g.reason, g.interval.start.pts_seconds, g.interval.end.pts_seconds) for g in started.gaps
    ]
    assert gaps == [(ERASED, 2.0, 4.0)]
    shown = [(e.interval.start.pts_seconds, e.interval.end.pts_seconds) for e in started.evidence]
    assert all(end <= 2.0 or start >= 4.0 for start, end in shown) and len(shown) == 6


REDUCERS: list[dict[str, Any]] = [
    {"name": "all"},
    {"name": "dtd"},
    {"name": "holitom"},
    {"name": "compressor"},
]


@pytest.mark.parametrize("reduce", REDUCERS, ids=lambda reduce: str(reduce["name"]))
def test_of_everything_nothing_is_left(reduce: dict[str, Any]) -> None:
    """Fresh clips, the open segment, what the next clip would be compared with, the picture."""
    config = Config.model_validate(
        {
            "reduce": reduce,
            "remember": {
                "segment_clips": 4,
                "budget_bytes": 2**26,
                "host_budget_bytes": 2**26,
                "host_form": "pictures",
            },
            "respond": {"fresh_clips": 2},
        }
    )
    engine, events = StreamEngine(tiny_vlm("qwen3-vl"), config), list[AnswerEvent]()
    watch(engine, count=9)
    engine.ask(question(max_new_tokens=64), events.append)
    for _ in range(3):
        engine.step()
    shown = [torch.from_numpy(clip.pixels[-1]) for clip in clips(9)]
    gone = [*of_blocks(blocks_of(engine)), *recent_of(engine), *signatures(shown)]
    del shown
    assert found_alive(gone) > 3
    erased = erase(engine, UtcInterval())
    assert found_alive(gone) == 0
    memory = engine.get_stream("door").memory
    assert (memory.blocks, memory.fresh_clips, memory.reduction_bytes) == (0, 0, 0)
    assert erased.num_blocks + erased.num_clips > 2
    (gap,) = memory.gaps
    assert (gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (0.0, 9.0)
    last = events[-1]
    assert isinstance(last, AnswerFinished) and last.finish_reason is FinishReason.CANCELLED


def test_what_was_on_its_way_comes_too_late(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    watch(engine, count=4)
    erase(engine, span(3.0, 5.5))
    feed_more(engine, clips(4, first=4))
    pipeline = engine._streams.get("door").pipeline
    assert [block.interval.start.pts_seconds for block in pipeline.memory.blocks] == [0, 1, 2, 6]
    assert [fresh.interval.start.pts_seconds for fresh in pipeline._fresh] == [7]
    (gap,) = engine.get_stream("door").memory.gaps
    assert (gap.reason, gap.interval.start.pts_seconds, gap.interval.end.pts_seconds) == (
        ERASED, 3.0, 6.0,
    )  # fmt: skip


def test_a_clock_that_may_be_off_costs_its_neighbours() -> None:
    interval = make_clip(3).interval
    assert not touches(span(4.0, 5.0), interval)
    unsure = replace(interval, end=replace(interval.end, clock_error_seconds=0.5))
    assert touches(span(4.0, 5.0), unsure)


def test_an_interval_that_is_none_is_refused(tmp_path: Path) -> None:
    engine = make_engine(tmp_path)
    watch(engine, count=2)
    with pytest.raises(InvalidInputError, match="end after it starts, got 1750000005"):
        span(5.0, 4.0)
    with pytest.raises(InvalidInputError, match="must end after"):
        UtcInterval(end_seconds=float("nan"))
    for future in (
        UtcInterval(end_seconds=time.time() + 60),
        UtcInterval(start_seconds=time.time() + 60),
    ):
        with pytest.raises(ErasureError, match="must have happened"):
            erase(engine, future)
    with pytest.raises(StreamNotFoundError, match="'window'"):
        erase(engine, span(0.0, 1.0), "window")
    assert engine.get_stream("door").memory.gaps == ()
    assert erase(engine, span(-9.0, -5.0)) == Erased()
    engine.stop()
    with pytest.raises(EngineStoppedError):
        engine.erase("door", span(0.0, 1.0)).result(60)


def test_where_the_disk_does_not_forget_the_caller_is_told_and_may_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(tmp_path, snapshot_seconds=1e-6)
    watch(engine, count=4)
    save(engine)
    gone = of_blocks(blocks_of(engine)[:1])

    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".safetensors":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(NotErasedError, match="Operation not permitted"):
            erase(engine, span(0.0, 1.0))
    assert found_on_disk(tmp_path, gone)
    assert erase(engine, span(0.0, 1.0)).num_blocks == 0, "memory forgot it the first time"
    assert found_on_disk(tmp_path, gone) == []


@pytest.mark.parametrize("why", ["off", "file", "nothing seen"])
def test_snapshots_that_are_not_taken_any_more_go_as_a_whole(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(tmp_path)
    watch(engine, count=4)
    run_to_its_end(engine)
    engine = make_engine(tmp_path, snapshot_seconds=0.0 if why == "off" else 60.0)
    source = SOURCE if why == "file" else "rtsp://cam/2"
    watch(engine, count=0, source=source)
    if why == "file":
        monkeypatch.setattr(type(engine._streams.get("door")), "can_wait", property(lambda _: True))
    assert list(tmp_path.rglob("block-*"))
    erase(engine, UtcInterval())
    assert not list(tmp_path.rglob("block-*"))
    if why == "nothing seen":
        feed_more(engine, clips(4))
        run_to_its_end(engine)
        assert list(tmp_path.rglob("block-*")), "what comes later is kept again"


ERASED_IDS = (1, 2, 4)
NUM_KILLS = 12
MOST_SECONDS = 0.02
"""From the beginning of an erasure: it takes some milliseconds."""


def erase_on_disk(folder: Path, telling: Connection) -> None:
    """Six blocks, two manifests that name them, and an erasure of three; tells before and after."""
    opened, blocks = SnapshotFolder(folder, ABOUT), [made_block(i) for i in range(6)]
    for _ in range(2):
        opened.save(snapshot_of(blocks))
    telling.send("begun")
    opened.save(snapshot_of([b for b in blocks if b.block_id not in ERASED_IDS]), num_kept=1)
    telling.send("done")
    time.sleep(60)


def said_done(heard: Connection) -> bool:
    """Whether one who is gone told of the end before."""
    try:
        return bool(heard.recv() == "done")
    except (EOFError, OSError):  # nothing, or half a word
        return False


def test_killed_at_any_instant_an_erasure_is_finished_or_was_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    moments, gone = random.Random(0), of_blocks(map(made_block, ERASED_IDS))
    for number in range(NUM_KILLS):
        folder = tmp_path / str(number)
        heard, telling = context.Pipe(duplex=False)
        writer = context.Process(target=erase_on_disk, args=(folder, telling))
        writer.start()
        telling.close()
        assert heard.recv() == "begun"
        time.sleep(moments.uniform(0, MOST_SECONDS))
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        if is_done := said_done(heard):
            assert found_on_disk(folder, gone) == [], "it was said to be gone"
        heard.close()
        found = SnapshotFolder(folder, ABOUT).load(2**40, CPU)
        assert found is not None and found.gaps == ()
        left = [block.block_id for block in found.blocks]
        assert left == [0, 3, 5] or (left == list(range(6)) and not is_done)
        assert len(found_on_disk(folder, gone)) == (0 if left == [0, 3, 5] else len(ERASED_IDS))
