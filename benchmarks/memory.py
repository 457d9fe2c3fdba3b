"""What memory costs at the sizes of real models, with random keys and values, beside a plain copy.

    python benchmarks/memory.py                     this machine's CPU, a few minutes
    python benchmarks/memory.py --device cuda

A block is four clips at 448 x 448 after 82.8 % of the tokens are dropped: four seconds. The forward
over a segment is not in any figure. Hours of stream that do not fit are simulated by as many blocks
with summaries of real length and keys and values of one number: what is measured is finding and
book-keeping, and the bytes are those of one real block times their number.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from machine import describe, write
from rich.console import Console
from rich.table import Table
from spine import in_turn, milliseconds, wait_for
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from streamvlm.remember import Counters, KVMemory, Rung, Snapshot, SnapshotFolder, Storage
from streamvlm.remember.quantise import FORMS
from streamvlm.remember.stored import StoredBlock
from streamvlm.types import ClockSource, InputTokens, Interval, RawKV, StreamTime, Summary, Tier
from streamvlm.vlm.kernels import kernels_for
from streamvlm.vlm.positions import Cursor, text_positions
from streamvlm.vlm.qwen import QwenVL
from streamvlm.vlm.spread import SpreadRotary

BLOCK_TOKENS = 136
BLOCK_SECONDS = 4
HOT_TOKENS = 6_000
RECALL_BLOCKS = 16
MANY_BLOCKS = 60
"""Those of 8K tokens."""
PLENTY = 2**40


@dataclass(frozen=True)
class Size:
    """Of the keys and values of a published model."""

    layers: int
    groups: int
    head_size: int = 128


SIZES = {"28 x 4 x 128 (Qwen2.5-VL-7B)": Size(28, 4), "36 x 8 x 128 (Qwen3-VL-8B)": Size(36, 8)}


class Weightless(QwenVL):
    """The keys and values of a model without the model: a prefill gives random ones."""

    def __init__(self, size: Size, device: torch.device) -> None:
        config = Qwen3VLTextConfig(
            head_dim=size.head_size,
            num_attention_heads=size.groups,
            num_key_value_heads=size.groups,
            hidden_size=size.groups * size.head_size,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
            },
        )
        self._layers, self._groups, self._head_size = size.layers, size.groups, size.head_size
        self._index_layer, self._device = size.layers // 2, device
        shape = (2, size.layers, size.groups, BLOCK_TOKENS, size.head_size)
        self._drawn = torch.randn(shape, device=device).bfloat16()
        self._kernels = kernels_for(device, size.head_size)
        rotary = SpreadRotary(Qwen3VLTextRotaryEmbedding(config).to(device))
        self._family = SimpleNamespace(moving_axes=(True, True, True))
        self._text_model = SimpleNamespace(rotary_emb=rotary)

    @property
    def device(self) -> torch.device:
        """See `VLM.device`."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """As real ones are served."""
        return torch.bfloat16

    def prefill(self, inputs: InputTokens, context: Any) -> Any:
        """A copy of the same random numbers: to draw them takes longer than what is measured."""
        both = self._drawn[:, :, :, : len(inputs)].clone()
        return SimpleNamespace(kv=RawKV(keys=both[0], values=both[1], positions=inputs.positions))


def segment(index: int, num_tokens: int = BLOCK_TOKENS) -> tuple[InputTokens, Interval]:
    """Nothing but its length matters."""
    inputs = InputTokens(
        embeddings=torch.zeros(num_tokens, 1),
        positions=text_positions(index * num_tokens, num_tokens),
        is_visual=torch.ones(num_tokens, dtype=torch.bool),
    )
    start = StreamTime(pts_seconds=index * BLOCK_SECONDS, utc_seconds=0.0, clock=ClockSource.CLIENT)
    return inputs, Interval(start=start, end=start.later(BLOCK_SECONDS))


def make_memory(vlm: Weightless, budget_bytes: int, *lower: Rung, folder: Path) -> KVMemory:
    nothing = RawKV(
        keys=torch.zeros(vlm._layers, vlm._groups, 0, vlm._head_size, dtype=vlm.dtype),
        values=torch.zeros(vlm._layers, vlm._groups, 0, vlm._head_size, dtype=vlm.dtype),
        positions=text_positions(0, 0),
    )
    storage = Storage(lower=lower, folder=folder)
    return KVMemory(vlm, nothing, budget_bytes=budget_bytes, local_blocks=0, storage=storage)


def rate(times: dict[str, float], num_bytes: int) -> dict[str, float]:
    """The median, and how many bytes of exact keys and values it is a second."""
    return {**times, "gb_per_second": num_bytes / times["median"] / 1e6}


def copies(device: torch.device, num_bytes: int, repeats: int) -> dict[str, Any]:
    """Plain copies of so many bytes: the bar for everything else."""
    host = torch.ones(num_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there = host.to(device)
    other = torch.empty_like(there)
    works: dict[str, Callable[[], Any]] = {"plain copy on the device": lambda: other.copy_(there)}
    if device.type == "cuda":
        works["plain copy from pinned memory"] = lambda: there.copy_(host, non_blocking=True)
        works["plain copy to pinned memory"] = lambda: host.copy_(there, non_blocking=True)
    return {
        name: rate(milliseconds(work, device, repeats), num_bytes) for name, work in works.items()
    }


def tier_costs(vlm: Weightless, folder: Path, repeats: int) -> dict[str, Any]:
    """Moves down, and recalls from each tier and form."""
    each = BLOCK_TOKENS * vlm.kv_bytes_per_token
    result: dict[str, Any] = {}
    places = [(Tier.DEVICE, "exact")]
    # What comes behind is brought back by a forward.
    of_keys = FORMS[: FORMS.index("embeddings")]
    places += [(tier, form) for tier in (Tier.HOST, Tier.DISK) for form in of_keys]
    for tier, form in places:
        lower = [] if tier is Tier.DEVICE else [Rung(tier=tier, budget_bytes=PLENTY, form=form)]
        memory = make_memory(vlm, PLENTY, *lower, folder=folder)
        for index in range(RECALL_BLOCKS):
            memory.append(*segment(index))
        taken = []
        if lower:
            for _ in range(RECALL_BLOCKS):
                wait_for(vlm.device)
                start = time.perf_counter()
                memory.give(Tier.DEVICE)
                wait_for(vlm.device)
                taken.append(1000 * (time.perf_counter() - start))
            taken.sort()
            moved = {"median": taken[len(taken) // 2], "min": taken[0], "max": taken[-1]}
            result[f"a block goes down to {tier}, {form}"] = rate(moved, each)
            result[f"bytes of a block on {tier}, {form}"] = memory.bytes_in(tier) // RECALL_BLOCKS
        probe = torch.randn(vlm._groups * vlm._head_size)
        recall = milliseconds(lambda: memory.recall(probe, RECALL_BLOCKS), vlm.device, repeats)  # noqa: B023
        result[f"recall of {RECALL_BLOCKS} blocks from {tier}, {form}"] = rate(
            recall, RECALL_BLOCKS * each
        )
    return result


def hot_costs(vlm: Weightless, folder: Path, repeats: int) -> dict[str, Any]:
    """Appending to a full memory, a copy standing for the forward, and putting a context
    together.
    """
    each, device = BLOCK_TOKENS * vlm.kv_bytes_per_token, vlm.device
    result: dict[str, Any] = {}
    for name, lower in (
        ("the oldest is forgotten", []),
        ("the oldest goes to the host", [Rung(tier=Tier.HOST, budget_bytes=2 * each)]),
    ):
        memory = make_memory(vlm, HOT_TOKENS * vlm.kv_bytes_per_token, *lower, folder=folder)
        for index in range(HOT_TOKENS // BLOCK_TOKENS + 1):
            memory.append(*segment(index))
        append = milliseconds(lambda: memory.append(*segment(0)), device, repeats)  # noqa: B023
        result[f"append, {name}"] = rate(append, each)
    for count in (RECALL_BLOCKS, MANY_BLOCKS):
        kvs = [vlm.prefill(segment(i)[0], None).kv for i in range(count)]
        result |= gathered(vlm, kvs, repeats)
    return result


def gathered(vlm: Weightless, kvs: list[RawKV], repeats: int) -> dict[str, Any]:
    """A context put together, beside a plain copy of as many bytes, in turn; both as they are
    called, with all that the host does, and on a GPU besides what the device does alone, queued
    behind each other.
    """
    device, num_bytes = vlm.device, len(kvs) * BLOCK_TOKENS * vlm.kv_bytes_per_token
    there = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    other = torch.empty_like(there)
    works = [lambda: vlm.open_context(kvs), lambda: other.copy_(there)]
    ways = {"": in_turn(works, device, repeats)}
    if device.type == "cuda":
        positions = torch.cat([kv.positions for kv in kvs])
        into = vlm.open_context(kvs)
        angles = vlm._angles(positions, into.buffers[0])
        works[0] = lambda: vlm._kernels.gather(kvs, *into.buffers, *angles)
        ways[", the device alone"] = [queued(work) for work in works]
    result = {}
    for name, (ours, copy) in ways.items():
        share = {"share_of_copy": copy["median"] / ours["median"]}
        result[f"gather and rotate {len(kvs)} blocks{name}"] = rate(ours, num_bytes) | share
        result[f"plain copy of as many bytes{name}, {len(kvs)} blocks"] = rate(copy, num_bytes)
    return result


def queued(work: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds of each of many, between events of the device that wait behind other work."""
    block = torch.ones(2**30, dtype=torch.uint8, device="cuda")
    times = []
    for _ in range(20):
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        for _ in range(8):  # the host must be ahead of the device
            block.fill_(1)
        marks[0].record()
        work()
        marks[1].record()
        torch.cuda.synchronize()
        times.append(marks[0].elapsed_time(marks[1]))
    times.sort()
    return {"median": times[len(times) // 2], "min": times[0], "max": times[-1]}


@contextmanager
def most_resident() -> Iterator[dict[str, float]]:
    """How much host memory the block takes at most beyond what is there before, in MB; sampled."""
    page, found, is_over = resource.getpagesize(), {"peak_mb": 0.0}, threading.Event()

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page / 1e6

    before = resident()

    def watch() -> None:
        while not is_over.wait(0.002):
            found["peak_mb"] = max(found["peak_mb"], resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        is_over.set()
        watcher.join()


def snapshot_costs(vlm: Weightless, folder: Path) -> dict[str, Any]:
    """A hot memory to the disk and back, once: the page cache is warm when it is read."""
    budget = HOT_TOKENS * vlm.kv_bytes_per_token
    memory = make_memory(vlm, budget, folder=folder)
    for index in range(HOT_TOKENS // BLOCK_TOKENS):
        memory.append(*segment(index))
    now = segment(0)[1].start
    snapshot = Snapshot(
        blocks=memory.blocks,
        next_block_id=memory.next_block_id,
        cursor=Cursor(text=0, temporal=0),
        policy="keep",
        seen_until=now,
        next_clip_index=0,
        unkept=None,
        gaps=(),
        counters=Counters(),
        num_evicted=0,
    )
    num_bytes, result = memory.num_bytes, dict[str, Any]()
    with most_resident() as peak:
        start = time.perf_counter()
        SnapshotFolder(folder, {}).save(snapshot)
        taken = 1000 * (time.perf_counter() - start)
    result[f"snapshot of {HOT_TOKENS} tokens"] = rate({"median": taken}, num_bytes) | peak
    del memory, snapshot
    with most_resident() as peak:
        start = time.perf_counter()
        found = SnapshotFolder(folder, {}).load(budget, vlm.device)
        assert found is not None
        again = make_memory(vlm, budget, folder=folder)
        again.restore(found.blocks, found.next_block_id, found.num_evicted)
        wait_for(vlm.device)
        taken = 1000 * (time.perf_counter() - start)
    assert again.num_bytes == num_bytes
    result[f"restore of {HOT_TOKENS} tokens"] = rate({"median": taken}, num_bytes) | peak
    return result


def hours(vlm: Weightless, folder: Path, most_hours: int, sizes: dict[str, int]) -> dict[str, Any]:
    """Long streams, simulated: see above."""
    small = Weightless(Size(1, 1), torch.device("cpu"))
    memory = make_memory(small, PLENTY, folder=folder)
    result: dict[str, Any] = {}
    done = 0
    for wanted in (each for each in (1, 10, 100) if each <= most_hours):
        number = wanted * 3600 // BLOCK_SECONDS
        for index in range(done, number):
            memory._keep(_small_block(index, vlm._groups * vlm._head_size))
        done = number
        probe = torch.randn(vlm._groups * vlm._head_size)
        cpu = torch.device("cpu")
        result[str(wanted)] = {
            "blocks": number,
            "gigabytes": {form: number * each / 1e9 for form, each in sizes.items()},
            "recall": milliseconds(lambda: memory.recall(probe, RECALL_BLOCKS), cpu, 5),  # noqa: B023
            "check": milliseconds(memory.check, cpu, 1),
        }
    return result


def _small_block(index: int, length: int) -> StoredBlock:
    one = torch.zeros(1, 1, 1, 1)
    kv = RawKV(keys=one, values=one, positions=text_positions(0, 1))
    return StoredBlock(
        block_id=index,
        kv=kv,
        summary=_summary(torch.randn(length)),
        interval=segment(index, 1)[1],
        is_visual=torch.ones(1, dtype=torch.bool),
        clip_lengths=(1,),
    )


def _summary(vector: torch.Tensor) -> Summary:
    """Of a block with one token."""
    key = vector[None]
    tokens = torch.zeros(1, dtype=torch.int64)
    return Summary(mean=key, low=key, high=key, keys=key[None], tokens=tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most-hours", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    result: dict[str, Any] = {"machine": describe(device), "sizes": {}}
    for name, size in SIZES.items():
        vlm = Weightless(size, device)
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            block = BLOCK_TOKENS * vlm.kv_bytes_per_token
            costs = copies(device, RECALL_BLOCKS * block, arguments.repeats)
            costs |= hot_costs(vlm, Path(folder), arguments.repeats)
            costs |= tier_costs(vlm, Path(folder), arguments.repeats)
            costs |= snapshot_costs(vlm, Path(folder) / "snapshot")
            sizes = {"exact": block} | {
                form: costs[f"bytes of a block on disk, {form}"] for form in ("int8", "int4")
            }
            long = hours(vlm, Path(folder), arguments.most_hours, sizes)
        result["sizes"][name] = {"block_bytes": block, "costs": costs, "hours": long}
        show(name, costs)
    print("wrote", write(f"memory_{device.type}", result))


def show(name: str, costs: dict[str, Any]) -> None:
    table = Table(title=name)
    for column in ("what", "ms", "GB/s"):
        table.add_column(column)
    for what, cost in costs.items():
        if isinstance(cost, dict):
            table.add_row(what, f"{cost['median']:.2f}", f"{cost['gb_per_second']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
