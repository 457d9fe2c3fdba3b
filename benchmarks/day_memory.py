"""A day of one stream through all tiers: do bytes and times stay flat?

    python benchmarks/day_memory.py

A block every four seconds of stream time, as fast as it goes, with random keys and values of a
small model, until each of device, host (int8) and disk (int4) has been full for most of the day.
At the end of each hour: bytes and blocks of every tier, files on the disk, resident memory, and how
long an append and a recall take. Prints them and writes benchmarks/results/day_memory.json.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from machine import describe, write
from memory import BLOCK_SECONDS, RECALL_BLOCKS, Size, Weightless, make_memory, segment
from rich.console import Console
from rich.table import Table

from streamvlm.remember import KVMemory, Rung
from streamvlm.types import Tier

HOURS = 24
TOKENS = 16
"""Of a block."""
BLOCKS = {Tier.DEVICE: 300, Tier.HOST: 600, Tier.DISK: 1200}
"""That fit into each tier as they come, before they are shrunk."""
RECALLS = 50

console = Console(highlight=False)


def milliseconds_of(work: Callable[[], object]) -> float:
    """How long it takes once."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def hour(memory: KVMemory, number: int, folder: Path, vector_size: int) -> dict[str, Any]:
    """Blocks of an hour, and what is there at its end."""
    a_block = 3600 // BLOCK_SECONDS
    appends = [
        milliseconds_of(lambda index=index: memory.append(*segment(index, TOKENS)))  # type: ignore[misc]
        for index in range(number * a_block, (number + 1) * a_block)
    ]
    probes = torch.randn(RECALLS, vector_size)
    recalls = [milliseconds_of(lambda p=p: memory.recall(p, RECALL_BLOCKS)) for p in probes]  # type: ignore[misc]
    memory.check()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    return {
        "hour": number + 1,
        "bytes": {str(tier): memory.bytes_in(tier) for tier in Tier},
        "blocks": len(memory.blocks),
        "files": sum(path.is_file() for path in folder.rglob("*")),
        "resident_mb": resident / 1e6,
        "append_ms": median(appends),
        "recall_ms": median(recalls),
    }


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    vlm = Weightless(Size(2, 2), torch.device("cpu"))
    budgets = {tier: number * TOKENS * vlm.kv_bytes_per_token for tier, number in BLOCKS.items()}
    lower = (
        Rung(tier=Tier.HOST, budget_bytes=budgets[Tier.HOST], form="int8"),
        Rung(tier=Tier.DISK, budget_bytes=budgets[Tier.DISK], form="int4"),
    )
    with tempfile.TemporaryDirectory() as name:
        memory = make_memory(vlm, budgets[Tier.DEVICE], *lower, folder=Path(name))
        vector_size = vlm._groups * vlm._head_size
        hours = [hour(memory, number, Path(name), vector_size) for number in range(HOURS)]
    table = Table("hour", *map(str, Tier), "blocks", "files", "resident", "append", "recall")
    for each in hours:
        table.add_row(
            str(each["hour"]),
            *(f"{each['bytes'][str(tier)] / 1e6:.2f} MB" for tier in Tier),
            str(each["blocks"]),
            str(each["files"]),
            f"{each['resident_mb']:.0f} MB",
            f"{each['append_ms']:.2f} ms",
            f"{each['recall_ms']:.1f} ms",
        )
    console.print(table)
    result = {
        "machine": describe(vlm.device),
        "budgets": {str(tier): number for tier, number in budgets.items()},
        "hours": hours,
    }
    console.print("wrote", write("day_memory", result))


if __name__ == "__main__":
    main()
