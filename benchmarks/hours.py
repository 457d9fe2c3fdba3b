"""What is still answerable after two hours, and what of it is due to recall. By age of the event.

    python benchmarks/hours.py --streams 10 --processes 2

Unseen streams of two hours, each watched once, as the service watches it, within a fixed budget of
memory. Every half an hour it is asked questions of every age, and each is answered once for each
way to recall:

    service      what the service does: the index finds candidates, the model's attention chooses
    per_layer    the same, but each layer of the model chooses for itself, as many tokens
    fiftieth     as the service does, but no more than every fiftieth block of its memory
    index        the best by the index alone
    everything   all that memory holds: what its budget has not evicted
    newest       as many blocks as the service recalls, the newest: a sliding window without recall
    random       as many, drawn at random
    nothing      the fresh window alone

A table says of each way how many questions about the past it alone answers rightly, and how many
the service alone. A last one says how many visits, minutes apart, a question adds up ("how many
times did the red circle appear?"): the length of the chain of facts. Prints the tables, writes
benchmarks/results/hours.json and hours.png.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from long_streams import case
from machine import RESULTS, describe, write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from zoo import model, sign_test

from streamvlm.config import Config
from streamvlm.evaluate import report, report_plots, runner
from streamvlm.evaluate.items import Case
from streamvlm.evaluate.methods import method
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.report import Accuracy
from streamvlm.evaluate.suites.mini import TEST_SEEDS
from streamvlm.evaluate.world.script import Pace
from streamvlm.pipeline import StreamPipeline
from streamvlm.recalling import Recalled, Recalling, Recalls
from streamvlm.remember import KVMemory
from streamvlm.types import KVBlock, Recall

FIRST_SEED = TEST_SEEDS.start + 3_000_000
PACE = Pace(between=60.0, return_share=0.3, quiet_share=0.1, trouble_every=900.0)
"""Some hundred visits in two hours."""
ASKED_EVERY_SECONDS = 1800

console = Console(highlight=False)

Choose = Callable[[Sequence[KVBlock], str, int], Sequence[KVBlock]]
"""Blocks of a memory, a question and a number of blocks to what comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blindly:
    """A way to recall that does not look into the blocks."""

    memory: KVMemory
    num_blocks: int
    choose: Choose

    def begin(self, question: str) -> Recalled:
        """See `Recalls`; times that a question names do not matter."""
        blocks = tuple(self.choose(self.memory.blocks, question, self.num_blocks))
        return lambda within: Recall(blocks=blocks, scores=(0.0,) * len(blocks))


def at_random(blocks: Sequence[KVBlock], question: str, num_blocks: int) -> Sequence[KVBlock]:
    """The same for the same question."""
    rng = np.random.default_rng(list(question.encode()))
    some = rng.choice(len(blocks), min(num_blocks, len(blocks)), replace=False)
    return [blocks[place] for place in sorted(some.tolist())]


BLIND_WAYS: dict[str, Choose] = {
    "everything": lambda blocks, _question, _num_blocks: blocks,
    "newest": lambda blocks, _question, num_blocks: blocks[-num_blocks:],
    "random": at_random,
    "nothing": lambda _blocks, _question, _num_blocks: (),
}


def blindly(choose: Choose, pipeline: StreamPipeline) -> Recalls:
    """From as many blocks as the pipeline recalls."""
    own = pipeline.recalling
    assert isinstance(own, Recalling)
    return Blindly(memory=own.memory, num_blocks=own.num_blocks, choose=choose)


def a_fiftieth(pipeline: StreamPipeline) -> Recalls:
    """As the pipeline does, but 2 % of the blocks that there are."""
    own = pipeline.recalling
    assert isinstance(own, Recalling)
    return replace(own, num_blocks=max(1, len(own.memory.blocks) // 50))


def by_layer(pipeline: StreamPipeline) -> Recalls:
    """As the pipeline does, but each layer chooses for itself."""
    own = pipeline.recalling
    assert isinstance(own, Recalling)
    return replace(own, settings=replace(own.settings, selection="per_layer"))


def by_index(pipeline: StreamPipeline) -> Recalls:
    """As the pipeline does, without asking the model."""
    own = pipeline.recalling
    assert isinstance(own, Recalling)
    return replace(own, settings=replace(own.settings, candidate_tokens=0))


def watch(checkpoint: str, device: str, case: Case) -> list[Outcome]:
    """A stream, and all that is answered about it."""
    ways = {"per_layer": by_layer, "fiftieth": a_fiftieth, "index": by_index} | {
        name: partial(blindly, choose) for name, choose in BLIND_WAYS.items()
    }
    methods = [method("service")]
    vlm = model(checkpoint, device)
    return list(runner.run(vlm, [case], methods, config=Config(), other_ways=ways))


def against(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Each way against the service, on the same questions about the past: how many only one of the
    two answered rightly, and how likely so uneven a split is by chance.
    """
    right: dict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
    for each in outcomes:
        if each.item.group == "past":
            right[each.method][each.video_id, each.item.item_id] = each.is_right
    ours, found = right.pop("service"), []
    for way, theirs in right.items():
        only_way = sum(theirs[asked] > is_right for asked, is_right in ours.items())
        only_service = sum(theirs[asked] < is_right for asked, is_right in ours.items())
        chance = sign_test(only_way, only_service)
        found.append(
            {"way": way, "way_alone": only_way, "service_alone": only_service, "p": chance}
        )
    return found


def table_against(compared: Sequence[dict[str, Any]]) -> Table:
    """For people."""
    table = Table("way", "it alone", "the service alone", "p", title="right about the past")
    for each in compared:
        counts = str(each["way_alone"]), str(each["service_alone"])
        table.add_row(each["way"], *counts, f"{each['p']:.3g}")
    return table


def chains(outcomes: Sequence[Outcome]) -> dict[str, dict[int, Accuracy]]:
    """Way -> how many visits were to be counted -> how many of such questions were right."""
    marks: dict[str, dict[int, list[Outcome]]] = defaultdict(lambda: defaultdict(list))
    for each in outcomes:
        if each.item.family == "times":
            marks[each.method][int(each.item.answer)].append(each)
    return {
        way: {length: Accuracy.of(some) for length, some in sorted(lengths.items())}
        for way, lengths in marks.items()
    }


def table_of(by_way: dict[str, dict[int, Accuracy]]) -> Table:
    """For people."""
    lengths = sorted({length for counted in by_way.values() for length in counted})
    table = Table(title="visits to be counted: right of all")
    table.add_column("way")
    for length in lengths:
        table.add_column(str(length), justify="right")
    for way, counted in by_way.items():
        cells = [f"{each.right} / {each.total}" for each in counted.values()]
        table.add_row(way, *cells)
    return table


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=7200)
    parser.add_argument("--per-age", type=int, default=5, help="questions of each age, each time")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    vlm = model(options.checkpoint, options.device)
    began = time.monotonic()
    seeds = range(FIRST_SEED, FIRST_SEED + options.streams)
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        watching = [
            pool.submit(
                watch,
                options.checkpoint,
                options.device,
                case(seed, options.seconds, options.per_age, PACE, ASKED_EVERY_SECONDS),
            )
            for seed in seeds
        ]
        for _ in track(as_completed(watching), "watching", len(watching), console=console):
            pass
        outcomes = [outcome for each in watching for outcome in each.result()]
    reports = report.add_up(outcomes)
    for table in report.tables(reports):
        console.print(table, "")
    console.print(table_against(compared := against(outcomes)), "")
    by_way = chains(outcomes)
    console.print(table_of(by_way))
    result = {
        "machine": describe(torch.device(vlm.device)),
        "checkpoint": options.checkpoint,
        "streams": options.streams,
        "seconds": options.seconds,
        "seconds_taken": round(time.monotonic() - began),
        "processes": options.processes,
        "config": Config().model_dump(mode="json"),
        "against the service": compared,
        "chains": {
            way: {str(length): [each.right, each.total] for length, each in counted.items()}
            for way, counted in by_way.items()
        },
        **report.as_json(reports, []),
    }
    console.print("wrote", write("hours", result))
    report_plots.plot(reports, RESULTS / "hours.png")


if __name__ == "__main__":
    main()
