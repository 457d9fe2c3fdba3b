"""How good are the answers when less is kept? Every strategy at every ratio, beside the baselines.

    python benchmarks/quality.py --videos 12 --processes 2

The built-in suite, each clip encoded once for all methods: the oracle, the newest frames alone, and
each strategy at each ratio with everything else as in the oracle. Beside the intervals of each
method stands the composed compressor against each of the others on the same questions: how many
only one of the two answered rightly, which says more than two intervals that overlap. Prints the
tables of `streamvlm eval`, writes benchmarks/results/quality.json, quality.png and strategies.png.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from math import comb
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from machine import RESULTS, describe, write
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamvlm.config import Config
from streamvlm.evaluate import report, report_plots, runner
from streamvlm.evaluate.command import FIT_VIDEOS
from streamvlm.evaluate.items import Case, Item, is_right
from streamvlm.evaluate.methods import Method, knobs, method
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.report import MethodReport
from streamvlm.evaluate.suites import mini
from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS
from streamvlm.vlm import VLM, load

BASELINES = ("full", "last-4-frames", "last-8-frames")
CURVES = ("uniform", "random", "dtd", "compressor")
"""Whose whole curve is drawn."""
RATIOS = (0.5, 0.25, 0.17, 0.1, 0.05)
"""Besides 1, which is the oracle."""
COMPARED_RATIOS = (0.25, 0.17, 0.1)
"""At which all strategies are."""
OURS = "compressor"
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


def names() -> list[str]:
    """Of all methods."""
    others = [each for each in (*SEGMENT_REDUCERS, *REDUCERS) if knobs(each) and each not in CURVES]
    return [
        *BASELINES,
        *(f"{each}@{ratio}" for each in CURVES for ratio in RATIOS),
        *(f"{each}@{ratio}" for each in others for ratio in COMPARED_RATIOS),
    ]


def against(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Our compressor against each strategy at the same ratio, on questions about the past: how many
    only one of the two answered rightly, and how likely so uneven a split is by chance.
    """
    right: dict[str, dict[str, bool]] = defaultdict(dict)
    for each in outcomes:
        if each.item.group == "past":
            right[each.method][each.item.item_id] = each.is_right
    rows = []
    for name, theirs in right.items():
        strategy, at, ratio = name.partition("@")
        ours = right.get(f"{OURS}{at}{ratio}")
        if strategy == OURS or not at or ours is None:
            continue
        only_ours = sum(ours[item] and not is_right for item, is_right in theirs.items())
        only_theirs = sum(is_right and not ours[item] for item, is_right in theirs.items())
        chance = _sign_test(only_ours, only_theirs)
        rows.append({"method": name, "ours": only_ours, "theirs": only_theirs, "p": chance})
    return rows


def _sign_test(one: int, other: int) -> float:
    """How likely a split at least so uneven is where both sides are as likely."""
    total, fewer = one + other, min(one, other)
    splits = sum(comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * splits / float(2**total))


@cache
def model(checkpoint: str, device: str) -> VLM:
    """One for each process."""
    torch.set_num_threads(1)
    return load(checkpoint, device=device, max_pixels=Config().encode.max_pixels)


def watch(checkpoint: str, device: str, case: Case, methods: Sequence[Method]) -> list[Outcome]:
    """What each method answers about a video."""
    return list(runner.run(model(checkpoint, device), [case], methods, config=Config()))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=64.0)
    parser.add_argument("--questions", type=int, default=6, help="at each of 4 moments")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    vlm = model(options.checkpoint, options.device)
    cases = list(
        mini.load(
            videos=options.videos, seconds=options.seconds, questions_per_ask=options.questions
        )
    )
    fit_on = [case.video for case in cases[:FIT_VIDEOS]]
    methods = runner.fit(vlm, [method(name) for name in names()], fit_on, config=Config())
    began = time.monotonic()
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        watching = [
            pool.submit(watch, options.checkpoint, options.device, case, methods) for case in cases
        ]
        for _ in track(as_completed(watching), "watching", len(watching), console=console):
            pass
        outcomes = [outcome for each in watching for outcome in each.result()]
    reports = report.add_up(outcomes)
    for table in report.tables(reports):
        console.print(table, "")
    floor = blind([item for case in cases for item in case.items])
    console.print("blind guess:", {group: round(100 * share, 1) for group, share in floor.items()})
    paired = against(outcomes)
    console.print(table_of(paired))
    result: dict[str, Any] = {
        "machine": describe(torch.device(vlm.device)),
        "checkpoint": options.checkpoint,
        "videos": options.videos,
        "seconds": options.seconds,
        "blind": floor,
        "seconds_taken": round(time.monotonic() - began),
        "processes": options.processes,
        "past_against_compressor": paired,
        "settings_of_methods": {each.name: each.settings for each in methods},
        **report.as_json(reports, []),
    }
    console.print("wrote", write("quality", result))
    drawn = [each for each in reports if each.method.partition("@")[0] in (*BASELINES, *CURVES)]
    report_plots.plot(drawn, RESULTS / "quality.png")
    plot_strategies(reports, RESULTS / "strategies.png")


def plot_strategies(reports: Sequence[MethodReport], path: Path) -> None:
    """Write one picture: a panel for each ratio, all strategies, the best of the past on top."""
    figure = Figure(figsize=(4 * len(COMPARED_RATIOS), 4.5), layout="constrained")
    panels = figure.subplots(1, len(COMPARED_RATIOS), sharex=True)
    for ratio, panel in zip(COMPARED_RATIOS, panels, strict=True):
        some = [each for each in reports if each.method.endswith(f"@{ratio}")]
        some.sort(key=lambda each: each.groups["past"].share)
        for height, each in enumerate(some):
            past = each.groups["past"]
            low, high = past.interval
            color = "C1" if each.method.startswith(OURS) else "C0"
            panel.plot([100 * low, 100 * high], [height, height], color=color)
            panel.plot([100 * past.share], [height], "o", color=color)
        kept = [each.cost.kept_ratio or 0.0 for each in some]
        labels = [
            f"{each.method.partition('@')[0]} ({100 * ratio:.0f} %)"
            for each, ratio in zip(some, kept, strict=True)
        ]
        panel.set_yticks(range(len(some)), labels, fontsize="small")
        full = next(each for each in reports if each.method == "full").groups["past"].share
        panel.axvline(100 * full, linestyle="--", color="grey")
        panel.set(title=f"asked to keep {100 * ratio:.0f} %", xlabel="past: right, % (95 %)")
    figure.savefig(path)


def table_of(paired: Sequence[dict[str, Any]]) -> Table:
    """For people."""
    table = Table(title=f"past: questions that only one of the two knew, beside {OURS}")
    for name in ("method", OURS, "the other", "p"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for each in paired:
        table.add_row(each["method"], str(each["ours"]), str(each["theirs"]), f"{each['p']:.3f}")
    return table


if __name__ == "__main__":
    main()
