"""The index from a thousand to ten million vectors, exact and by its inverted file, beside a plain
product of matrix and vector.

    python benchmarks/index.py                           nine minutes and 7 GB
    python benchmarks/index.py --most-vectors 1000000    two minutes and 5 GB

A block has five vectors: its mean and four representative tokens, which resemble each other and the
blocks of their scene. Half of the probes resemble a token that was seen, half resemble none.

`exact` scores all blocks, by the rule that is configured (vote) and by the one whose answer is that
of the product (representatives). `file` is what the index does with more than `exact_vectors`: the
blocks that are scored are found by product codes (IVF-PQ). Ten million vectors are put into the
index's table at once, and summaries made where the file reads them: as objects, one a block, they
would take several times the room of their numbers.

Prints a table and writes benchmarks/results/index_cpu.json.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from machine import describe, write
from rich.console import Console
from rich.table import Table
from torch import Tensor

from streamvlm.remember.index import EXACT_VECTORS, BlockIndex, InvertedFile
from streamvlm.remember.score import Stack
from streamvlm.remember.settings import DEFAULTS
from streamvlm.remember.summary import MOST_REPRESENTATIVES
from streamvlm.types import Summary

CONFIGURED, AS_PRODUCT = DEFAULTS.score, "representatives"
RULES_MEASURED = (CONFIGURED, AS_PRODUCT)
RESULTS = 16
PROBES = 10
"""Of each kind."""
VECTORS_A_BLOCK = MOST_REPRESENTATIVES + 1
SCENE_BLOCKS = 50
HEAD_SIZE = 128

console = Console(highlight=False, width=100)


@dataclass(frozen=True)
class Size:
    """How many vectors, how long: as long as 8 GB allow; 512 numbers are those of a 7B."""

    vectors: int
    length: int
    are_objects: bool = True
    """Whether each block is added with a summary of its own."""

    @property
    def needed_bytes(self) -> int:
        """About what it takes: the vectors and a table that grows, or the vectors and a file."""
        return 4 * self.vectors * self.length * 3 // (1 if self.are_objects else 2)


SIZES = (
    Size(1_000, 512),
    Size(10_000, 512),
    Size(100_000, 512),
    Size(1_000_000, 256),
    Size(10_000_000, 128, are_objects=False),
)


def remembered(num_blocks: int, length: int) -> Stack:
    """Blocks of a stream; their bounds, which no rule here reads, are their means."""
    heads = length // HEAD_SIZE
    keys = torch.empty(num_blocks, MOST_REPRESENTATIVES, heads, HEAD_SIZE).normal_()
    means = torch.empty(num_blocks, heads, HEAD_SIZE).normal_()
    for some, middle in zip(keys.split(SCENE_BLOCKS), means.split(SCENE_BLOCKS), strict=True):
        middle += torch.randn(heads, HEAD_SIZE)
        some += middle[:, None]
    num_keys = torch.full((num_blocks,), MOST_REPRESENTATIVES)
    return Stack(means=means, lows=means, highs=means, keys=keys, num_keys=num_keys)


class Summaries(Mapping[int, Summary]):
    """Those of a stack, made where they are read."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._tokens = stack, torch.arange(MOST_REPRESENTATIVES)

    def __len__(self) -> int:
        return len(self._stack)

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self)))

    def __getitem__(self, row: int) -> Summary:
        mean, keys = self._stack.means[row], self._stack.keys[row]
        return Summary(mean=mean, low=mean, high=mean, keys=keys, tokens=self._tokens)


def filled(stack: Stack) -> Any:
    """An index with all blocks of the stack, whose row is their id; for searches only."""
    index = BlockIndex(CONFIGURED)
    index._table._stack, index._table._ids = stack, torch.arange(len(stack))
    index._table._rows = range(len(stack))
    return index


def milliseconds(work: Callable[[Tensor], Any], probes: list[Tensor]) -> float:
    """The median over the probes, after a first one."""
    work(probes[0])
    taken = []
    for probe in probes:
        start = time.perf_counter()
        work(probe)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def measure(size: Size) -> dict[str, Any]:
    num_blocks = size.vectors // VECTORS_A_BLOCK
    stack = remembered(num_blocks + 1, size.length)
    result: dict[str, Any] = {
        "numbers_a_vector": size.length,
        "blocks": num_blocks,
        "add_us_a_block": None,
        "exact_ms": {},
    }
    kinds = {
        "seen": [_like_a_token(stack) for _ in range(PROBES)],
        "random": [torch.randn(size.length) for _ in range(PROBES)],
    }
    probes = [probe for both in zip(*kinds.values(), strict=True) for probe in both]
    if size.are_objects:
        # Of the very size at which the next block has an inverted file built.
        index = BlockIndex(CONFIGURED, exact_vectors=size.vectors)
        blocks = list(Summaries(stack).items())
        start = time.perf_counter()
        for block in blocks[:-1]:
            index.add(*block)
        result["add_us_a_block"] = 1e6 * (time.perf_counter() - start) / num_blocks
    else:
        index = filled(stack)
    for rule in RULES_MEASURED:
        result["exact_ms"][rule] = milliseconds(
            lambda probe: index.search(probe, RESULTS, rule=rule),  # noqa: B023
            probes,
        )
    flat = stack.keys.flatten(2).flatten(0, 1)

    def product(probe: Tensor) -> Any:
        return (flat @ probe).view(-1, MOST_REPRESENTATIVES).amax(dim=1).topk(RESULTS)

    result["matmul_ms"] = milliseconds(product, probes)
    exact = [_found(index, kinds, rule) for rule in RULES_MEASURED]
    start = time.perf_counter()
    if size.are_objects:
        index.add(*blocks[-1])
        assert index.settle(), "the file was not built"
    else:
        index._file, index._newer = InvertedFile(Summaries(stack)), {}
    result["file_build_seconds"] = time.perf_counter() - start
    result["file_ms"] = milliseconds(lambda probe: index.search(probe, RESULTS), probes)
    result["recall"] = {
        rule: {kind: _recall(found[kind], right[kind]) for kind in kinds}
        for rule, right in zip(RULES_MEASURED, exact, strict=True)
        for found in [_found(index, kinds, rule)]
    }
    result["megabytes"] = {
        "vectors": 4 * size.vectors * size.length / 1e6,
        "table": _table_bytes(index) / 1e6,
        "file": _file_bytes(index._file) / 1e6,
        "process_at_most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }
    return result


def _like_a_token(stack: Stack) -> Tensor:
    """What a block has in common, and noise of its own, as every token of it."""
    mean = stack.means[int(torch.randint(len(stack) - 1, ()))].flatten()
    return mean + torch.randn_like(mean)


def _found(index: BlockIndex, kinds: dict[str, list[Tensor]], rule: str) -> dict[str, list[Any]]:
    return {
        kind: [{block for block, _ in index.search(each, RESULTS, rule=rule)} for each in probes]
        for kind, probes in kinds.items()
    }


def _recall(found: list[set[int]], right: list[set[int]]) -> float:
    """The share of the best that were found."""
    return sum(len(a & b) for a, b in zip(found, right, strict=True)) / sum(map(len, right))


def _table_bytes(index: BlockIndex) -> int:
    stack = index._table._stack
    assert stack is not None
    parts = {part.data_ptr(): part.nbytes for part in (stack.means, stack.lows, stack.highs)}
    return sum(parts.values()) + stack.keys.nbytes + stack.num_keys.nbytes


def _file_bytes(file: InvertedFile | None) -> int:
    """Codes and ids of the vectors, centres of the lists and of the codes."""
    assert file is not None
    faiss_index = file._index
    centres = faiss_index.nlist * faiss_index.d + faiss_index.pq.centroids.size()
    return int(faiss_index.ntotal * (faiss_index.code_size + 8) + 4 * centres)


def free_bytes() -> int:
    """Memory of this machine that nobody uses."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def show(sizes: dict[str, Any]) -> None:
    table = Table(title=f"the {RESULTS} best blocks")
    table.add_column("vectors", no_wrap=True)
    for vectors in sizes:
        table.add_column(f"{int(vectors):,}", justify="right")

    def row(what: str, digits: int, *path: str) -> None:
        table.add_row(what, *(_cell(each, path, digits) for each in sizes.values()))

    row("numbers a vector", 0, "numbers_a_vector")
    row("add, us a block", 0, "add_us_a_block")
    row("build the file, s", 1, "file_build_seconds")
    for rule in RULES_MEASURED:
        row(f"{rule}, ms", 2, "exact_ms", rule)
    row("matmul and topk, ms", 2, "matmul_ms")
    row(f"file, {CONFIGURED}, ms", 2, "file_ms")
    for rule in RULES_MEASURED:
        for kind in ("seen", "random"):
            row(f"recall, {rule}, {kind}", 2, "recall", rule, kind)
    for what in ("vectors", "table", "file"):
        row(f"{what}, MB", 1, "megabytes", what)
    console.print(table)


def _cell(each: dict[str, Any], path: tuple[str, ...], digits: int) -> str:
    value: Any = each
    for key in path:
        value = value[key]
    return "-" if value is None else f"{value:,.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most-vectors", type=int, default=SIZES[-1].vectors)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    result: dict[str, Any] = {
        "machine": describe(torch.device("cpu")),
        "exact_vectors": EXACT_VECTORS,
        "sizes": {},
        "left_out": {},
    }
    for size in SIZES:
        if size.vectors > arguments.most_vectors:
            result["left_out"][str(size.vectors)] = "not asked for"
        elif size.needed_bytes > (free := free_bytes()):
            needed = size.needed_bytes / 1e9
            result["left_out"][str(size.vectors)] = f"{needed:.1f} GB needed, {free / 1e9:.1f} free"
        else:
            result["sizes"][str(size.vectors)] = measure(size)
            console.print(f"{size.vectors:,} vectors measured")
        path = write("index_cpu", result)
    show(result["sizes"])
    for vectors, why in result["left_out"].items():
        console.print(f"{int(vectors):,} vectors left out: {why}")
    print("wrote", path)


if __name__ == "__main__":
    main()
