"""Is what happened half an hour ago still answerable? Unseen streams of 30 minutes, by age.

    python benchmarks/long_streams.py --streams 10

Each stream is watched as the service watches it, gate, reduction, memory and recall included, with
and without what it remembers. It is asked every ten minutes, up to a few questions of each age and
as many that have none, such as what is there now.
Prints the tables of `streamvlm eval`, writes benchmarks/results/long_streams.json and .png.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from machine import RESULTS, describe, write
from rich.console import Console
from rich.progress import track

from streamvlm.config import Config
from streamvlm.evaluate import report, report_plots, runner
from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.live_truth import item_of
from streamvlm.evaluate.methods import method
from streamvlm.evaluate.suites.mini import TEST_SEEDS, SyntheticVideo
from streamvlm.evaluate.world.questions import ask
from streamvlm.evaluate.world.script import Pace
from streamvlm.evaluate.world.script import write as write_script
from streamvlm.evaluate.world.truth import Look, looks
from streamvlm.vlm import load

METHODS = ("service", "service-no-memory")
FIRST_SEED = TEST_SEEDS.start + 1_000_000
PACE = Pace(between=20.0, return_share=0.3, quiet_share=0.1, trouble_every=300.0)
"""Some ninety visits in half an hour, with quiet stretches."""
ASKED_EVERY_SECONDS = 600

console = Console(highlight=False)


def case(
    seed: int, seconds: int, per_age: int, pace: Pace = PACE, every: int = ASKED_EVERY_SECONDS
) -> Case:
    """A stream with up to `per_age` questions of each age, and without one, `every` so often."""
    script = write_script(seed, float(seconds), pace)
    shown = looks(script, [float(second) for second in range(seconds)])
    moments = range(min(every, seconds), seconds + 1, every)
    items = [item for moment in moments for item in _items(seed, shown[:moment], per_age)]
    return Case(video=SyntheticVideo(script=script), items=tuple(items))


def _items(seed: int, shown: list[Look], per_age: int) -> Iterator[Item]:
    """Questions at the newest look, the ages filled evenly."""
    rng = np.random.default_rng((seed, 11, len(shown)))
    drawn: dict[str | None, int] = defaultdict(int)
    texts = set[str]()
    for _ in range(20):
        for question in ask(shown, rng, 22, "test"):
            item = item_of(question, f"long-{seed}-{len(shown)}-{len(texts)}")
            event = item.event_seconds
            age = report.age_bin(None if event is None else item.asked_seconds - event)
            if drawn[age] < per_age and item.question not in texts:
                drawn[age] += 1
                texts.add(item.question)
                yield item


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--per-age", type=int, default=5, help="questions of each age, each time")
    options = parser.parse_args()
    config = Config()
    vlm = load(options.checkpoint, device=options.device, max_pixels=config.encode.max_pixels)
    seeds = range(FIRST_SEED, FIRST_SEED + options.streams)
    cases = [case(seed, options.seconds, options.per_age) for seed in seeds]
    total = len(METHODS) * sum(len(each.items) for each in cases)
    began = time.monotonic()
    asked = runner.run(vlm, cases, [method(name) for name in METHODS], config=config)
    outcomes = list(track(asked, "asking", total=total, console=console))
    reports = report.add_up(outcomes)
    for table in report.tables(reports):
        console.print(table, "")
    result = {
        "machine": describe(torch.device(vlm.device)),
        "checkpoint": options.checkpoint,
        "streams": options.streams,
        "seconds": options.seconds,
        "seconds_taken": round(time.monotonic() - began),
        "config": config.model_dump(mode="json"),
        **report.as_json(reports, []),
    }
    console.print("wrote", write("long_streams", result))
    report_plots.plot(reports, RESULTS / "long_streams.png")


if __name__ == "__main__":
    main()
