"""docs/zoo.md: all strategies, where they come from, what they know and what they cost.

    python benchmarks/zoo_page.py

Made of the table of strategies, of what each says of itself, and of the figures in
benchmarks/results; nothing is measured here, and what was not measured is a dash. What cannot be a
strategy is listed in not_in_the_zoo.yaml.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from zoo import BUDGETS, RATIOS

from streamvlm.about import About
from streamvlm.reduce import build_reducer
from streamvlm.reduce.table import strategies
from streamvlm.remember.choosing import CHOICES

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "zoo.md"
RANKED_AT = 0.1
BASELINES = {
    "full": "everything kept",
    "last-4-frames": "the newest 4 frames alone",
    "last-8-frames": "the newest 8 frames alone",
}
SHAPE = "qwen2.5-vl-7b"
MOST_FORGOTTEN = 3
"""Families named for each method."""

PAST = {
    "first": "order: what came first",
    "last": "order: what came last",
    "before": "order: what came before",
    "after": "order: what came after",
    "left_before": "what was on the left before",
    "at_time": "what was there at a time",
    "when": "when it came",
    "how_long": "how long it stayed",
    "times": "counting: how many times it came",
    "ever": "whether it ever was there",
    "number_was": "numbers: what it had on it",
}
"""Families of questions about the past, in plain words."""
NOW = {
    "color": "colour",
    "shape": "shape",
    "size": "size, small things among them",
    "where": "place",
    "count": "counting what is there",
    "number": "numbers",
    "moving": "motion: which way",
    "is_moving": "motion: whether",
    "is_there": "whether it is there",
    "is_at": "whether a place is taken",
    "more_than": "more than so many",
}
"""Those about now."""

Row = Mapping[str, Any]
Accuracy = Mapping[str, Any]


def page(zoo: Mapping[str, Any], cpu: Mapping[str, Any], cuda: Mapping[str, Any]) -> str:
    """The page, of results as they were written; of empty ones it is full of dashes."""
    rows = {row["method"]: row for row in zoo.get("methods", ())}
    parts = [
        _head(zoo, cpu, cuda),
        "## What they know\n",
        *_ranking(zoo, rows, _taken(cpu), _taken(cuda)),
        "## What each forgets\n",
        *_families(rows),
        "## At question time\n",
        *_choices(rows),
        "## Where they come from\n",
        _origins(),
        "## Not in the zoo\n",
        *_missing(),
    ]
    return "\n".join(parts)


def _head(*results: Mapping[str, Any]) -> str:
    zoo, cpu, cuda = results
    measured = (
        f"Accuracy: suite mini, {zoo['videos']} videos of {zoo['seconds']:g} s, "
        f"{len(zoo['items'])} questions, weights `{zoo['weights'][:12]}`; {_where(zoo)}."
        if zoo
        else "Accuracy: not measured yet."
    )
    return f"""# The zoo

<!-- Made by benchmarks/zoo_page.py; `make zoo` measures and makes it anew. -->

Every strategy of reduction behind one interface, one file each, checked against its formula
([how to add one](adding-a-strategy.md)), and all on one bench.

{measured}
Milliseconds a clip: 256 tokens of 3,584, one stream, default settings.
CPU: {_where(cpu)}. CUDA: {_where(cuda)}.
A dash was not measured, or does not apply.
"""


def _where(result: Mapping[str, Any]) -> str:
    if not result:
        return "not measured yet"
    machine = result["machine"]
    chip = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    return f"`{machine['command']}`, {chip}, {machine['date'][:10]}, commit {machine['commit']}"


def _taken(reduce: Mapping[str, Any]) -> Mapping[str, float]:
    found: Mapping[str, float] = reduce["shapes"][SHAPE]["ms_a_clip"] if reduce else {}
    return found


def _ranking(
    zoo: Mapping[str, Any],
    rows: Mapping[str, Row],
    cpu: Mapping[str, float],
    cuda: Mapping[str, float],
) -> Iterable[str]:
    names = list(strategies())
    past = {
        name: row["groups"]["past"]
        for name in names
        if (row := rows.get(f"{name}@{RANKED_AT}")) and "past" in row["groups"]
    }
    ranks = ranked(past)
    beside = {
        each["method"]: f"{each['theirs']} : {each['ours']} ({each['p']:.2f})"
        for each in zoo.get("past_against_compressor", ())
    }
    yield f"""In each cell: of the past right in % (95 % interval) / of now right / really kept.
Ranked by the past at {RANKED_AT:.2f}. A rank with = is a tie: from the best of a tie downwards, all
whose intervals reach that of the best share its rank, and stand in the order of their shares.
Intervals are wide; a comparison on the same questions says more. Beside the compressor at
{RANKED_AT:.2f}: questions of the past that only this method knew : that only the compressor knew,
and how likely so uneven a split is by chance (sign test).
"""
    head = ["rank", "method", *(f"{ratio:.2f}" for ratio in RATIOS)]
    lines = []
    for name in sorted(names, key=lambda each: _place(each, ranks, past)):
        known = [_known(rows.get(f"{name}@{ratio}")) for ratio in RATIOS]
        costs = [_number(cpu.get(name)), _number(cuda.get(name))]
        against = beside.get(f"{name}@{RANKED_AT}", "-")
        lines.append([ranks.get(name, "-"), f"`{name}`", *known, against, *costs])
    yield _table([*head, "beside the compressor", "ms, CPU", "ms, CUDA"], lines)
    for name, words in BASELINES.items():
        yield f"- {words}: {_known(rows.get(name))}"
    if zoo:
        floor = ", ".join(f"{group} {100 * share:.0f}" for group, share in zoo["blind"].items())
        yield f"- blind, always the likeliest answer of a family, right in %: {floor}"
    yield ""


def ranked(measured: Mapping[str, Accuracy]) -> dict[str, str]:
    """Name -> rank, the highest share first; with = behind it where several share it, as their
    intervals reach that of the best of them.
    """
    ranks: dict[str, int] = {}
    best: Accuracy | None = None
    order = sorted(measured.items(), key=lambda each: (-each[1]["share"], each[0]))
    for place, (name, accuracy) in enumerate(order, 1):
        if best is None or accuracy["interval_95"][1] < best["interval_95"][0]:
            best, rank = accuracy, place
        ranks[name] = rank
    shared = Counter(ranks.values())
    return {name: f"{rank}{'=' * (shared[rank] > 1)}" for name, rank in ranks.items()}


def _place(
    name: str, ranks: Mapping[str, str], past: Mapping[str, Accuracy]
) -> tuple[bool, float, str]:
    return name not in ranks, -past[name]["share"] if name in past else 0.0, name


def _known(row: Row | None, *, with_kept: bool = True) -> str:
    if row is None:
        return "-"
    kept = row["cost"]["kept_ratio"]
    now = row["groups"].get("now")
    parts = [_percent(row["groups"].get("past")), f"{100 * now['share']:.0f}" if now else "-"]
    if with_kept:
        parts.append("-" if kept is None else f"{100 * kept:.0f} %")
    return " / ".join(parts)


def _percent(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "-"
    low, high = accuracy["interval_95"]
    return f"{100 * accuracy['share']:.0f} ({100 * low:.0f}-{100 * high:.0f})"


def _number(taken: float | None) -> str:
    return "-" if taken is None else f"{taken:.2f}" if taken < 10 else f"{taken:.0f}"


def _families(rows: Mapping[str, Row]) -> Iterable[str]:
    full = rows.get("full")
    totals = {name: each["total"] for name, each in full["families"].items()} if full else {}
    yield f"""Questions answered rightly at {RANKED_AT:.2f}, by family, of the number in the head.
What a method forgets most: up to {MOST_FORGOTTEN} families of the past of which it knows less than
one that keeps everything, the greatest loss first. Families are small: one or two questions are
chance.
"""
    yield _family_table(rows, totals, PAST, with_forgotten=True)
    yield "Of now the fresh window knows most, which no strategy touches:\n"
    yield _family_table(rows, totals, NOW, with_forgotten=False)


def _family_table(
    rows: Mapping[str, Row],
    totals: Mapping[str, int],
    families: Mapping[str, str],
    *,
    with_forgotten: bool,
) -> str:
    heads = [
        f"{words} ({totals[name]})" if name in totals else words for name, words in families.items()
    ]
    lines = []
    methods = {"full": "everything kept", **{f"{n}@{RANKED_AT}": f"`{n}`" for n in strategies()}}
    for method, words in methods.items():
        row = rows.get(method)
        known = [_right(row, family) for family in families]
        last = [forgotten(rows["full"], row) if row and "full" in rows else "-"]
        lines.append([words, *known, *(last if with_forgotten else ())])
    return _table(["method", *heads, *(["forgets most"] if with_forgotten else [])], lines)


def _right(row: Row | None, family: str) -> str:
    return str(row["families"][family]["right"]) if row and family in row["families"] else "-"


def forgotten(full: Row, row: Row) -> str:
    """The families of the past of which a method knows least beside everything kept."""
    lost = {
        words: full["families"][name]["share"] - row["families"][name]["share"]
        for name, words in PAST.items()
        if name in full["families"] and name in row["families"]
    }
    most = sorted((words for words in lost if lost[words] > 0), key=lambda words: -lost[words])
    return "; ".join(most[:MOST_FORGOTTEN]) or "-"


def _choices(rows: Mapping[str, Row]) -> Iterable[str]:
    yield """Nothing is reduced before; of all that memory holds, so many tokens come back, which
depends on the question. In each cell: of the past right in % (95 % interval) / of now right.
"""
    lines = []
    for name in CHOICES:
        known = [rows.get(f"{name}:{tokens}") for tokens in BUDGETS]
        lines.append([f"`{name}`", *(_known(row, with_kept=False) for row in known)])
    yield _table(["choice", *(f"{tokens} tokens" for tokens in BUDGETS)], lines)


def _origins() -> str:
    heads = "method", "idea", "paper", "kind", "needs", "lag, clips", "cost of a clip", "licence"
    lines = [_origin(name, kind) for name, kind in strategies().items()]
    lines += [_origin(name, kind) for name, kind in CHOICES.items()]
    return (
        "N tokens of size D in a clip, k of them kept. The licence is that of the authors' code;\n"
        "nothing here was copied from it.\n\n" + _table([*heads, "what stands for what"], lines)
    )


def _origin(name: str, strategy: type[Any]) -> list[str]:
    module = sys.modules[strategy.__module__]
    file = strategy.__module__.replace(".", "/") + ".py"
    idea = (module.__doc__ or "-").partition("\n")[0].rstrip(".")
    needs = "the question"
    if name in strategies():
        needs = ", ".join(sorted(build_reducer({"name": name}).needs)) or "nothing"
    about: About | None = getattr(strategy, "about", None)
    said = (
        ["-", "-", needs, "-", "-", "-", "-"]
        if about is None
        else [
            _paper(about.title, about.year, about.arxiv),
            about.kind,
            needs,
            str(about.lag_clips),
            about.cost,
            about.licence,
            about.substitution or "nothing",
        ]
    )
    return [f"[`{name}`](../{file})", idea, *said]


def _paper(title: str, year: int | None, arxiv: str) -> str:
    named = f"{title} ({year})" if year else title
    return f"[{named}](https://arxiv.org/abs/{arxiv})" if arxiv else named


def _missing() -> Iterable[str]:
    yield "Not possible without training, not before there is a question, or not built:\n"
    found = yaml.safe_load((HERE / "not_in_the_zoo.yaml").read_text())
    lines = [
        [each["method"], _paper(each["paper"], None, each["arxiv"]), each["reason"]]
        for each in found
    ]
    yield _table(["method", "paper", "why not"], lines)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Markdown, with an empty line behind it."""
    rows = [heads, ["---"] * len(heads), *lines]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def of_stored() -> str:
    """The page of the results that are there."""
    return page(*(_stored(name) for name in ("zoo", "reduce_cpu", "reduce_cuda")))


def _stored(name: str) -> Mapping[str, Any]:
    path = HERE / "results" / f"{name}.json"
    found: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(of_stored())


if __name__ == "__main__":
    main()
