"""How often an engine at work can be killed without losing what it had saved: kill -9 at random
moments.

Each time a process of its own goes on where the one before was killed: three streams as fast as the
engine takes them, through memory, host (int8) and disk (int4), questions one after the other, a
snapshot of each stream every twentieth of a second, and a stretch of a stream erased now and then.
Then the kill, and what it left is read: the newest snapshot that was there before must be there,
whole (every file has its hash in the manifest), no block that was said to be erased, and no file
that no manifest names.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe, write

from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.erasure import touches
from streamvlm.remember import Snapshot, SnapshotFolder
from streamvlm.types import (
    AnswerEvent,
    AnswerFailed,
    AnswerFinished,
    Clip,
    ClockSource,
    FeedStatus,
    Question,
    Sampling,
    SourceState,
    StreamTime,
    UtcInterval,
)
from streamvlm.vlm import load

STREAMS = ("door", "gate", "yard")
SOURCE = "noise:"
MODEL = "random:qwen3-vl-tiny"
SEVERAL_STEPS = 2
"""Between two erasures."""
MOST_SECONDS = 3.0
"""From the first snapshot of a process to its end."""
START_SECONDS = 60.0


class Noise:
    """Clips without end, each as soon as it is wanted; goes on where a snapshot was taken."""

    def __init__(self, stream_id: str, size: tuple[int, int], snapshot: Snapshot | None) -> None:
        self._stream_id, self._size = stream_id, size
        self._index = snapshot.next_clip_index if snapshot else 0
        self._seconds = snapshot.seen_until.pts_seconds if snapshot else 0.0
        self._random = np.random.default_rng()

    def take(self) -> Clip:
        """One second more."""
        pixels = self._random.integers(0, 256, (2, *self._size, 3), dtype=np.uint8)
        times = tuple(instant(self._seconds + part) for part in (0.0, 0.5))
        made = Clip(
            stream_id=self._stream_id,
            clip_index=self._index,
            pixels=pixels,
            times=times,
            frame_seconds=0.5,
        )
        self._index, self._seconds = self._index + 1, self._seconds + 1.0
        return made

    def status(self) -> FeedStatus:
        """Always well."""
        return FeedStatus(state=SourceState.LIVE)

    def stop(self) -> None:
        """Nothing is held."""


def instant(seconds: float) -> StreamTime:
    return StreamTime(pts_seconds=seconds, utc_seconds=1e9 + seconds, clock=ClockSource.CLIENT)


def work(folder: Path, telling: Connection) -> None:
    """Until it is killed; tells of each stretch that is erased."""
    torch.set_num_threads(1)
    config = Config.model_validate(
        {
            "reduce": {"name": "all"},
            "remember": {
                "budget_bytes": 2**20,
                "host_budget_bytes": 2**20,
                "host_form": "int8",
                "disk_budget_bytes": 2**21,
                "disk_form": "int4",
                "segment_clips": 2,
                "snapshot_seconds": 0.05,
            },
            "respond": {"fresh_clips": 2},
        }
    )
    vlm = load(MODEL, dtype="float32", device="cpu")
    engine = StreamEngine(vlm, config, snapshot_folder=folder)
    side = 3 * vlm.patch_spec.rule.cell_pixels
    for stream_id in STREAMS:
        kept = engine.snapshots.open(stream_id, SOURCE)
        engine.add_stream(
            stream_id, SOURCE, Noise(stream_id, (side, side), kept.snapshot), kept=kept
        )
    asked = 0

    def ask(event: AnswerEvent | None) -> None:
        nonlocal asked
        if event is None or isinstance(event, AnswerFinished | AnswerFailed):
            asked += 1
            sampling = Sampling(max_new_tokens=8)
            stream_id = STREAMS[asked % len(STREAMS)]
            engine.ask(
                Question(
                    question_id=str(asked), stream_id=stream_id, text="What?", sampling=sampling
                ),
                ask,
            )

    engine.step()
    ask(None)
    chosen, steps = random.Random(), 0
    while True:
        engine.snapshots.take_due()
        engine.step()
        steps += 1
        if steps % SEVERAL_STEPS == 0:
            erase_some(engine, chosen, telling)


def erase_some(engine: StreamEngine, chosen: random.Random, telling: Connection) -> None:
    """One second of what a stream remembers; returns when it is gone."""
    stream_id = chosen.choice(STREAMS)
    if (remembered := engine.get_stream(stream_id).memory.remembered) is None:
        return
    first, last = remembered.start.pts_seconds, remembered.end.pts_seconds
    start = chosen.uniform(first, max(first, last - 1.0))
    span = UtcInterval(start_seconds=1e9 + start, end_seconds=1e9 + start + 1.0)
    done = engine.erase(stream_id, span)
    engine.step()
    done.result(60)
    telling.send((stream_id, span))


def numbers(folder: Path) -> dict[str, int]:
    """Stream -> number of its newest manifest."""
    return {
        stream_id: max(
            (int(p.stem.split("-")[1]) for p in (folder / f"stream-{stream_id}").glob("m*.json")),
            default=0,
        )
        for stream_id in STREAMS
    }


def heard(connection: Connection) -> list[tuple[str, UtcInterval]]:
    """All that was said by one who is gone."""
    told = []
    try:
        while connection.poll():
            told.append(connection.recv())
    except (EOFError, OSError):
        pass  # killed while it told
    return told


def problems(
    folder: Path, before: dict[str, int], erased: list[tuple[str, UtcInterval]], identity: Any
) -> tuple[list[str], Counter[str]]:
    """What is not as it should be after a kill, and how many blocks were read of each form."""
    found, after, read = list[str](), numbers(folder), Counter[str]()
    for stream_id in STREAMS:
        if after[stream_id] < before[stream_id]:
            found.append("a manifest is gone")
        own = folder / f"stream-{stream_id}"
        opened = SnapshotFolder(own, {"stream": stream_id, "source": SOURCE, **identity})
        snapshot = opened.load(2**40, torch.device("cpu"), disk_budget_bytes=2**40)
        if snapshot is None:
            found.append("no snapshot")
            continue
        read.update(block.form for block in snapshot.blocks)
        if any(gap.reason == "SNAPSHOT_DAMAGED" for gap in snapshot.gaps):
            found.append("a damaged block")
        spans = [span for name, span in erased if name == stream_id]
        if any(touches(span, block.interval) for block in snapshot.blocks for span in spans):
            found.append("an erased block is back")
        named = b"".join(path.read_bytes() for path in own.glob("manifest-*"))
        if any(path.name.encode() not in named for path in own.glob("block-*")):
            found.append("a block that no manifest names")
        if list(own.glob("*.unfinished")):
            found.append("an unfinished file")
    return found, read


Round = tuple[list[str], int, float, Counter[str]]
"""Problems; how many stretches were erased before; when it was killed, in seconds after its first
snapshot; how many blocks of each form were read back."""


def kill_one(folder: Path, moments: random.Random, identity: Any) -> Round:
    """Let a process work, and kill it."""
    context = multiprocessing.get_context("forkserver")
    listening, telling = context.Pipe(duplex=False)
    first = numbers(folder)
    worker = context.Process(target=work, args=(folder, telling))
    worker.start()
    telling.close()
    deadline = time.monotonic() + START_SECONDS
    # Opening publishes one manifest of each: what it saves itself is the next.
    while any(number < first[name] + 2 for name, number in numbers(folder).items()):
        assert time.monotonic() < deadline and worker.is_alive(), "it saves nothing"
        time.sleep(0.01)
    moment = moments.uniform(0, MOST_SECONDS)
    time.sleep(moment)
    before = numbers(folder)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert worker.exitcode == -signal.SIGKILL, "it ended by itself"
    erased = heard(listening)
    listening.close()
    found, read = problems(folder, before, erased, identity)
    return found, len(erased), moment, read


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin no more after these")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["streamvlm.engine"])
    moments, identity = random.Random(arguments.seed), load(MODEL, dtype="float32").identity
    began, rounds = time.monotonic(), list[Round]()
    with tempfile.TemporaryDirectory() as folder:
        while len(rounds) < arguments.kills and time.monotonic() - began < arguments.seconds:
            rounds.append(kill_one(Path(folder), moments, identity))
            print(len(rounds), rounds[-1], flush=True)
        snapshots = numbers(Path(folder))
    result = {
        "machine": describe(torch.device("cpu")),
        "model": MODEL,
        "kills_wanted": arguments.kills,
        "kills": len(rounds),
        "seconds": time.monotonic() - began,
        "streams": len(STREAMS),
        "manifests_written": sum(snapshots.values()),
        "blocks_read_back": dict(sum((read for *_, read in rounds), Counter[str]())),
        "stretches_erased": sum(number for _, number, *_ in rounds),
        "kills_with_a_problem": sum(bool(found) for found, *_ in rounds),
        "problems": dict(Counter(each for found, *_ in rounds for each in found)),
        "moments_seconds": [round(moment, 4) for _, _, moment, _ in rounds],
    }
    print("wrote", write("killed", result))
    print({key: value for key, value in result.items() if key != "moments_seconds"})
    return 1 if result["kills_with_a_problem"] or len(rounds) < arguments.kills else 0


if __name__ == "__main__":
    sys.exit(main())
