"""The zoo on one bench: what every strategy still knows at every ratio, beside the baselines.

    python benchmarks/zoo.py --processes 2
    python benchmarks/zoo.py --processes 2 --only divprune mmr

The built-in suite, each clip encoded once for all methods: the oracle, the newest frames alone, and
each strategy at each ratio with everything else as in the oracle; and each choice of question time
at each budget of tokens, where nothing is reduced before. Beside the intervals of each
method stands the composed compressor against each of the others on the same questions: how many
only one of the two answered rightly, which says more than two intervals that overlap.

Prints tables as `streamvlm eval` does, writes benchmarks/results/zoo.json, zoo-curves.png and
zoo-strategies.png; `zoo_page.py` makes docs/zoo.md of it. With `--only`, these strategies alone are
measured and take their places among the results that are there, where those are of the same suite
and weights; elsewhere they are printed, beside the baselines, and not written. Two runs differ in
their timings alone: which methods answered otherwise than in the results before is told.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from math import comb
from multiprocessing import get_context
from typing import Any

import torch
import zoo_plots
from machine import RESULTS, describe, write
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamvlm.config import Config
from streamvlm.evaluate import report, runner
from streamvlm.evaluate.command import FIT_VIDEOS
from streamvlm.evaluate.items import Case, Item, is_right
from streamvlm.evaluate.methods import Method, knobs, method
from streamvlm.evaluate.outcomes import Outcome
from streamvlm.evaluate.report import Accuracy, Cost, MethodReport
from streamvlm.evaluate.suites import mini
from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS
from streamvlm.remember.choosing import CHOICES
from streamvlm.vlm import VLM, load

BASELINES = ("full", "last-4-frames", "last-8-frames")
CURVES = ("uniform", "random", "dtd", "compressor")
"""Whose whole curve is drawn."""
CURVE_RATIOS = (0.5,)
"""Besides those of all strategies and 1, which is the oracle."""
RATIOS = (0.25, 0.17, 0.1, 0.05)
BUDGETS = (1024, 512, 256, 128)
"""Tokens that come back, of the some 3,000 that there are at the end of a video."""
OURS = "compressor"
BLIND_SEEDS = mini.TEST_SEEDS[-200:]
"""Of videos that are not asked about."""
SAME = ("checkpoint", "weights", "videos", "seconds", "questions")
"""What must be equal for results to stand side by side."""

Row = dict[str, Any]
"""What is written of a method."""

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


def adjustable() -> list[str]:
    """The strategies that can be set to a ratio."""
    return [each for each in (*SEGMENT_REDUCERS, *REDUCERS) if knobs(each)]


def names(those: Sequence[str], ratios: Sequence[float]) -> list[str]:
    """Of the methods of these strategies and choices."""
    return [
        *(
            f"{each}@{ratio}"
            for each in those
            if each not in CHOICES
            for ratio in ((*CURVE_RATIOS, *ratios) if each in CURVES else ratios)
        ),
        *(f"{each}:{tokens}" for each in those if each in CHOICES for tokens in BUDGETS),
    ]


def against(items: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> list[Row]:
    """Our compressor against each strategy at the same ratio, on questions about the past: how many
    only one of the two answered rightly, and how likely so uneven a split is by chance.
    """
    past = [number for number, item in enumerate(items) if item["group"] == "past"]
    right = {row["method"]: [row["right"][number] == "1" for number in past] for row in rows}
    found = []
    for name, theirs in right.items():
        strategy, at, ratio = name.partition("@")
        ours = right.get(f"{OURS}@{ratio}")
        if strategy == OURS or not at or ours is None:
            continue
        only_ours = sum(mine > other for mine, other in zip(ours, theirs, strict=True))
        only_theirs = sum(mine < other for mine, other in zip(ours, theirs, strict=True))
        chance = sign_test(only_ours, only_theirs)
        found.append({"method": name, "ours": only_ours, "theirs": only_theirs, "p": chance})
    return found


def sign_test(one: int, other: int) -> float:
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


def measure(options: argparse.Namespace, cases: Sequence[Case], wanted: Sequence[str]) -> list[Row]:
    """The rows of these methods. What fails in one video ends the run."""
    vlm = model(options.checkpoint, options.device)
    fit_on = [case.video for case in cases[:FIT_VIDEOS]]
    methods = runner.fit(vlm, [method(name) for name in wanted], fit_on, config=Config())
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        watching = [
            pool.submit(watch, options.checkpoint, options.device, case, methods) for case in cases
        ]
        try:
            for each in track(as_completed(watching), "watching", len(watching), console=console):
                each.result()
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
    return rows_of([outcome for each in watching for outcome in each.result()], methods)


def rows_of(outcomes: Sequence[Outcome], methods: Sequence[Method]) -> list[Row]:
    """What is written of each method: its report, and for each item in order whether it was
    answered rightly.
    """
    marks: dict[str, list[bool]] = defaultdict(list)
    for each in outcomes:
        marks[each.method].append(each.is_right)
    settings = {each.name: each.settings.get("reduce") for each in methods}
    commit = describe(torch.device("cpu"))["commit"]
    return [
        {
            **row,
            "right": "".join("01"[is_right] for is_right in marks[row["method"]]),
            "reduce": settings[row["method"]],
            "commit": commit,
        }
        for row in report.as_json(report.add_up(outcomes), [])["methods"]
    ]


def report_of(row: Row) -> MethodReport:
    """The report that a row was written of."""

    def part(name: str) -> dict[str, Accuracy]:
        return {
            key: Accuracy(right=each["right"], total=each["total"])
            for key, each in row[name].items()
        }

    return MethodReport(
        method=row["method"],
        groups=part("groups"),
        families=part("families"),
        ages=part("ages"),
        own_averages=row["own_averages"],
        cost=Cost(**row["cost"]),
    )


def stored(suite: Mapping[str, Any]) -> list[Row]:
    """The rows that were written of the same suite and weights; none where there are none."""
    path = RESULTS / "zoo.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    is_same = all(found.get(key) == suite[key] for key in SAME)
    return list(found["methods"]) if is_same else []


def changed(new: Sequence[Row], old: Sequence[Row]) -> tuple[int, list[str]]:
    """How many methods were measured before too, and which of them answered some question rightly
    only now, or only before.
    """
    before = {row["method"]: row["right"] for row in old}
    both = [row for row in new if row["method"] in before]
    return len(both), [row["method"] for row in both if row["right"] != before[row["method"]]]


def in_their_places(new: Sequence[Row], old: Sequence[Row]) -> list[Row]:
    """All rows once, the new ones for the old ones of these methods, and none of a strategy that is
    no more: the baselines, then the curves, then the others, from much kept to little.
    """
    places = {name: place for place, name in enumerate([*BASELINES, *CURVES, *_others()])}

    def place(name: str) -> tuple[int, float]:
        whose, amount = parts_of(name)
        return places[whose], -amount

    rows = {row["method"]: row for row in (*old, *new)}
    known = [name for name in rows if parts_of(name)[0] in places]
    return [rows[name] for name in sorted(known, key=place)]


def parts_of(name: str) -> tuple[str, float]:
    """Whose method it is, and its ratio or its tokens; 1 where it has neither."""
    whose, _, amount = name.replace(":", "@").partition("@")
    return whose, float(amount or 1)


def main() -> None:
    """Measure and write."""
    options = _options()
    vlm = model(options.checkpoint, options.device)
    cases = list(
        mini.load(
            videos=options.videos, seconds=options.seconds, questions_per_ask=options.questions
        )
    )
    suite = {
        "checkpoint": options.checkpoint,
        "weights": vlm.identity["weights_sha256"],
        "videos": options.videos,
        "seconds": options.seconds,
        "questions": options.questions,
    }
    before = stored(suite)
    old = before if options.only else []
    began = time.monotonic()
    new = measure(options, cases, _wanted(options, bool(old)))
    rows = in_their_places(new, old)
    items = [item for case in cases for item in case.items]
    result = {
        "machine": describe(torch.device(vlm.device)),
        **suite,
        "blind": blind(items),
        "seconds_taken": round(time.monotonic() - began),
        "processes": options.processes,
        "items": [
            {"item_id": item.item_id, "family": item.family, "group": item.group} for item in items
        ],
        "methods": rows,
    }
    result["past_against_compressor"] = against(result["items"], rows)
    again, others = changed(new, before)
    result["measured_before"] = {"methods": again, "other_answers": others}
    told = f"{again} methods were measured before; other answers: {', '.join(others) or 'none'}"
    console.print(told)
    _show(result, {row["method"] for row in new})
    if options.only and not old:
        console.print("not written: there are no results of all strategies of this suite")
        return
    console.print("wrote", write("zoo", result))
    reports = [report_of(row) for row in rows]
    drawn = (*BASELINES, *CURVES)
    zoo_plots.curves([each for each in reports if each.method.partition("@")[0] in drawn])
    zoo_plots.side_by_side(reports, options.ratios, OURS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--checkpoint", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=64.0)
    parser.add_argument("--questions", type=int, default=6, help="at each of 4 moments")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--ratios", type=float, nargs="+", default=list(RATIOS))
    known = [*adjustable(), *CHOICES]
    parser.add_argument("--only", nargs="+", choices=known, metavar="NAME")
    return parser.parse_args()


def _wanted(options: argparse.Namespace, has_others: bool) -> list[str]:
    """The methods to measure: those asked for, with what they are compared with unless the others
    were measured before.
    """
    if has_others:
        return names(options.only, options.ratios)
    some = dict.fromkeys([OURS, *options.only] if options.only else [*CURVES, *_others()])
    return [*BASELINES, *names(list(some), options.ratios)]


def _others() -> list[str]:
    return [*(each for each in adjustable() if each not in CURVES), *CHOICES]


def _show(result: Mapping[str, Any], measured: set[str]) -> None:
    """The tables of what was measured now."""
    reports = [report_of(row) for row in result["methods"] if row["method"] in measured]
    # Not by family, with a column for each method: that is on the page.
    *by_group_and_age, _, costs = report.tables(reports)
    for table in (*by_group_and_age, costs):
        console.print(table, "")
    floor = {group: round(100 * share, 1) for group, share in result["blind"].items()}
    console.print("blind guess:", floor)
    table = Table(title=f"past: questions that only one of the two knew, beside {OURS}")
    for name in ("method", OURS, "the other", "p"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for each in result["past_against_compressor"]:
        if each["method"] in measured:
            row = str(each["ours"]), str(each["theirs"]), f"{each['p']:.3f}"
            table.add_row(each["method"], *row)
    console.print(table)


if __name__ == "__main__":
    main()
