"""A writer that is killed at any instant leaves its last snapshot, whole."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from streamvlm.remember import Counters, Snapshot, SnapshotFolder
from streamvlm.remember.stored import StoredBlock
from streamvlm.remember.summary import summarise
from streamvlm.types import Interval, RawKV
from streamvlm.vlm.positions import Cursor
from tests.conftest import at

NUM_KILLS = 20
NUM_BLOCKS = 6
MOST_SECONDS = 0.15
"""From the first snapshot of a writer to its end: time for several, and for a part of one."""
ABOUT: dict[str, str | int] = {"stream": "door"}
CPU = torch.device("cpu")


def made_block(number: int) -> StoredBlock:
    """All that it holds follows from its number."""
    generator = torch.Generator().manual_seed(number)
    shape = (4, 2, 200, 64)
    return StoredBlock(
        block_id=number,
        kv=RawKV(
            keys=torch.randn(shape, generator=generator),
            values=torch.randn(shape, generator=generator),
            positions=torch.arange(200)[:, None].expand(-1, 3) + number,
        ),
        summary=summarise(
            torch.randn(200, 2, 64, generator=generator), torch.ones(200, dtype=torch.bool)
        ),
        interval=Interval(start=at(number), end=at(number + 1)),
        is_visual=torch.ones(200, dtype=torch.bool),
        clip_lengths=(200,),
    )


def snapshot_of(blocks: list[StoredBlock]) -> Snapshot:
    following = blocks[-1].block_id + 1
    return Snapshot(
        blocks=tuple(blocks),
        next_block_id=following,
        cursor=Cursor(text=following, temporal=following),
        policy="keep",
        seen_until=at(following),
        next_clip_index=following,
        unkept=None,
        gaps=(),
        counters=Counters(clips_encoded=following),
        num_evicted=following - len(blocks),
    )


def write_for_ever(folder: Path, telling: Connection) -> None:
    """A new block and a snapshot, again and again; tells the number of each that is saved."""
    opened = SnapshotFolder(folder, ABOUT)
    found = opened.load(2**40, CPU)
    blocks = list(found.blocks) if found else []
    following = found.next_block_id if found else 0
    while True:
        blocks = [*blocks, made_block(following)][-NUM_BLOCKS:]
        following += 1
        opened.save(snapshot_of(blocks))
        telling.send(following)


def last_told(heard: Connection) -> int:
    """Of a writer that has ended."""
    last = 0
    try:
        while heard.poll():
            last = heard.recv()
    except (EOFError, OSError):
        pass  # killed while it told
    return last


@pytest.mark.slow
def test_a_writer_killed_at_any_instant_leaves_a_whole_snapshot(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    moments = random.Random(0)
    for _ in range(NUM_KILLS):
        heard, telling = context.Pipe(duplex=False)
        writer = context.Process(target=write_for_ever, args=(tmp_path, telling))
        writer.start()
        telling.close()
        assert heard.poll(60), "the writer has written nothing"
        time.sleep(moments.uniform(0, MOST_SECONDS))
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert writer.exitcode == -signal.SIGKILL, "it ended by itself"
        check(tmp_path, last_told(heard))
        heard.close()


def check(folder: Path, last: int) -> None:
    """What was said to be saved is there, bit for bit, and little else."""
    found = SnapshotFolder(folder, ABOUT).load(2**40, CPU)
    assert found is not None and found.gaps == ()
    assert last <= found.next_block_id <= last + 1
    assert [block.block_id for block in found.blocks] == list(
        range(max(0, found.next_block_id - NUM_BLOCKS), found.next_block_id)
    )
    for block in found.blocks:
        made = made_block(block.block_id)
        assert torch.equal(block.kv.keys, made.kv.keys)
        assert torch.equal(block.kv.values, made.kv.values)
        assert torch.equal(block.summary.keys, made.summary.keys)
    each = made_block(0).kv.num_bytes
    used = sum(path.stat().st_size for path in folder.iterdir())
    assert used < 2 * NUM_BLOCKS * each, "what a killed writer left is swept by the next"
