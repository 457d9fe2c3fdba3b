"""Many answers at once: a token of each in one forward, beside one forward for each.

    python benchmarks/together.py

B answers, each over a context of its own; the two ways take turns, step by step, so that what else
the machine does hits both. Prints tokens a second and writes benchmarks/results/together_cpu.json
(or _cuda).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import describe, write
from rich.console import Console
from rich.table import Table

from streamvlm.types import RawKV
from streamvlm.vlm import VLM, load
from streamvlm.vlm.base import Context

COUNTS = (1, 2, 4, 8, 16)

console = Console(highlight=False)


def remembered(vlm: Any, num_tokens: int) -> RawKV:
    """Keys and values of so many tokens, of noise."""
    shape = (2, vlm._layers, vlm._groups, num_tokens, vlm._head_size)
    keys, values = torch.randn(shape, dtype=vlm.dtype, device=vlm.device)
    positions = torch.arange(num_tokens)[:, None].expand(-1, 3).contiguous()
    return RawKV(keys=keys, values=values, positions=positions)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def measure(vlm: VLM, count: int, num_tokens: int, steps: int) -> dict[str, float]:
    """Median milliseconds of a step, both ways."""
    kv, device = remembered(vlm, num_tokens), torch.device(vlm.device)
    apart: list[Context] = [vlm.open_context([kv]) for _ in range(count)]
    joint: list[Context] = [vlm.open_context([kv]) for _ in range(count)]
    ids = list(range(100, 100 + count))
    taken: dict[str, list[float]] = {"one_by_one": [], "together": []}
    for step in range(steps + 1):
        places = [num_tokens + step] * count

        def one_by_one(places: list[int] = places) -> None:
            for each in zip(ids, places, apart, strict=True):
                vlm.decode(*each)

        def together(places: list[int] = places) -> None:
            vlm.decode_together(ids, places, joint)

        for name, work in (("one_by_one", one_by_one), ("together", together)):
            taken[name].append(seconds_of(work, device))
    return {name: 1000 * statistics.median(each[1:]) for name, each in taken.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoints", nargs="+", default=["mini", "random:qwen2.5-vl-3b"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1024, 8192], help="of a context")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    rows = []
    for checkpoint in options.checkpoints:
        vlm = load(checkpoint, device=options.device)
        for num_tokens in options.tokens:
            for count in COUNTS:
                taken = measure(vlm, count, num_tokens, options.steps)
                ratio = taken["one_by_one"] / taken["together"]
                rows.append(
                    {
                        "checkpoint": checkpoint,
                        "context_tokens": num_tokens,
                        "answers": count,
                        "milliseconds_a_step": taken,
                        "times_as_fast": ratio,
                    }
                )
                console.print(rows[-1])
    device = torch.device(vlm.device)
    table = Table("model", "context", "answers", "one by one, ms", "together, ms", "times as fast")
    for row in rows:
        taken = row["milliseconds_a_step"]
        table.add_row(
            row["checkpoint"],
            str(row["context_tokens"]),
            str(row["answers"]),
            f"{taken['one_by_one']:.1f}",
            f"{taken['together']:.1f}",
            f"{row['times_as_fast']:.2f}",
        )
    console.print(table)
    result = {"machine": describe(device), "steps": options.steps, "rows": rows}
    console.print("wrote", write(f"together_{device.type}", result))


if __name__ == "__main__":
    main()
