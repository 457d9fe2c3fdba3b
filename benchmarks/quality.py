"""How good are the answers when less is kept? Every strategy at every ratio, beside the baselines.

    python benchmarks/quality.py --videos 12

The built-in suite, each clip encoded once for all methods: the oracle, the newest frames alone, and
each strategy at each ratio with everything else as in the oracle. Prints the tables of `streamvlm
eval`, writes benchmarks/results/quality.json and quality.png.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from machine import RESULTS, describe, write
from rich.console import Console
from rich.progress import track

from streamvlm.config import Config
from streamvlm.evaluate import report, report_plots, runner
from streamvlm.evaluate.command import FIT_VIDEOS
from streamvlm.evaluate.items import Item, is_right
from streamvlm.evaluate.methods import method
from streamvlm.evaluate.suites import mini
from streamvlm.vlm import load

BASELINES = ("full", "last-4-frames", "last-8-frames")
STRATEGIES = ("uniform", "random", "dtd", "compressor")
RATIOS = (0.5, 0.25, 0.17, 0.1, 0.05)
"""Besides 1, which is the oracle."""
BLIND_SEEDS = mini.TEST_SEEDS[-200:]
"""Of videos that are not asked about."""

console = Console(highlight=False)


def blind(items: Sequence[Item]) -> dict[str, float]:
    """Group -> share right for somebody who sees nothing and always gives a family's likeliest
    answer: the floor of all accuracies.
    """
    likeliest: dict[str, Counter[str]] = defaultdict(Counter)
    for case in mini.cases(BLIND_SEEDS):
        for item in case.items:
            likeliest[item.family][item.answer] += 1
    right: dict[str, list[bool]] = defaultdict(list)
    for item in items:
        best = likeliest[item.family].most_common(1)
        right[item.group].append(bool(best) and is_right(item, best[0][0]))
    return {group: sum(marks) / len(marks) for group, marks in right.items()}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=64.0)
    parser.add_argument("--questions", type=int, default=6, help="at each of 4 moments")
    options = parser.parse_args()
    config = Config()
    vlm = load(options.checkpoint, device=options.device, max_pixels=config.encode.max_pixels)
    cases = list(
        mini.load(
            videos=options.videos, seconds=options.seconds, questions_per_ask=options.questions
        )
    )
    names = [*BASELINES, *(f"{each}@{ratio}" for each in STRATEGIES for ratio in RATIOS)]
    fit_on = [case.video for case in cases[:FIT_VIDEOS]]
    methods = runner.fit(vlm, [method(name) for name in names], fit_on, config=config)
    began = time.monotonic()
    asked = runner.run(vlm, cases, methods, config=config)
    total = len(methods) * sum(len(case.items) for case in cases)
    outcomes = list(track(asked, "asking", total=total, console=console))
    reports = report.add_up(outcomes)
    for table in report.tables(reports):
        console.print(table, "")
    floor = blind([item for case in cases for item in case.items])
    console.print("blind guess:", {group: round(100 * share, 1) for group, share in floor.items()})
    result: dict[str, Any] = {
        "machine": describe(torch.device(vlm.device)),
        "checkpoint": options.checkpoint,
        "videos": options.videos,
        "seconds": options.seconds,
        "blind": floor,
        "seconds_taken": round(time.monotonic() - began),
        "settings_of_methods": {each.name: each.settings for each in methods},
        **report.as_json(reports, []),
    }
    console.print("wrote", write("quality", result))
    report_plots.plot(reports, RESULTS / "quality.png")


if __name__ == "__main__":
    main()
