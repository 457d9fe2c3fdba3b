"""What outcomes add up to: accuracy with its uncertainty, and what it cost. Tables and JSON.

Groups are never averaged over: what is there now and what was there before are different questions.
Intervals take items for independent, which those of one video are not quite.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, sqrt
from statistics import median
from typing import Any, TypeVar

from rich.table import Table
from rich.text import Text

from streamvlm.evaluate.items import Item
from streamvlm.evaluate.outcomes import Outcome

AGES: dict[str, float] = {
    "0-30 s": 30.0,
    "30-60 s": 60.0,
    "1-5 min": 300.0,
    "5-15 min": 900.0,
    "15-30 min": 1800.0,
    "30-60 min": 3600.0,
    "1-2 h": 7200.0,
    "over 2 h": inf,
}
"""Bins for how long ago something was, by the seconds at which each ends."""

OwnAverages = Callable[[Iterable[tuple[Item, float | None]]], Mapping[str, float]]
"""A suite's own way to add its own scores up: shares in 0..1 by name."""

_Key = TypeVar("_Key", bound=Hashable)

_Z = 1.959964
"""Standard deviations either side of the mean that hold 95 % of a normal distribution."""
_MEBI = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """How many of some items were answered rightly."""

    right: int
    total: int

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Accuracy:
        """Strictly scored."""
        return cls(right=sum(each.is_right for each in outcomes), total=len(outcomes))

    @property
    def share(self) -> float:
        """In 0..1."""
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        return wilson(self.right, self.total)


def wilson(right: int, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 %: where the true share lies, `right` of `total` being seen.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927). Unlike the normal interval it stays within 0..1 and holds for small counts.
    """
    share, z2 = right / total, _Z * _Z
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z / (1 + z2 / total) * sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the answers of one method took."""

    kept_ratio: float | None
    """Share of the tokens that reached the reducer and were kept; None where none did."""
    encoded_ratio: float
    """Share of the clips that were encoded; the gate left out the others."""
    context_tokens: float
    """Median."""
    kv_bytes: int
    """Most bytes of keys and values in memory."""
    first_token_seconds: float
    """Median time to first token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """All outcomes of one method, added up."""

    method: str
    groups: dict[str, Accuracy]
    families: dict[str, Accuracy]
    ages: dict[str, Accuracy]
    """By the bins of `AGES`; items without an age are left out."""
    own_averages: dict[str, float]
    """The suite's own scores, added up in its own way; empty for suites without them."""
    cost: Cost


def add_up(
    outcomes: Iterable[Outcome], own_averages: OwnAverages | None = None
) -> list[MethodReport]:
    """A report for each method, in the order in which methods and groups first come."""
    by_method = _by(outcomes, lambda each: each.method)
    return [_add_up(method, some, own_averages) for method, some in by_method.items()]


def _add_up(method: str, outcomes: list[Outcome], own_averages: OwnAverages | None) -> MethodReport:
    groups = _by(outcomes, lambda each: each.item.group)
    families = _by(outcomes, lambda each: each.item.family)
    aged = _by(outcomes, lambda each: age_bin(each.age_seconds))
    scored = [(each.item, each.own_score) for each in outcomes]
    return MethodReport(
        method=method,
        groups={name: Accuracy.of(some) for name, some in groups.items()},
        families={name: Accuracy.of(some) for name, some in families.items()},
        ages={name: Accuracy.of(aged[name]) for name in AGES if name in aged},
        own_averages=dict(own_averages(scored)) if own_averages else {},
        cost=_cost(outcomes),
    )


def _cost(outcomes: Sequence[Outcome]) -> Cost:
    newest = {each.video_id: each.memory for each in outcomes}.values()
    seen = sum(memory.tokens_seen for memory in newest)
    encoded = sum(memory.clips_encoded for memory in newest)
    unchanged = sum(memory.clips_unchanged for memory in newest)
    return Cost(
        kept_ratio=sum(memory.tokens_kept for memory in newest) / seen if seen else None,
        encoded_ratio=encoded / max(1, encoded + unchanged),
        context_tokens=median(each.context_tokens for each in outcomes),
        kv_bytes=max(each.memory.kv_bytes for each in outcomes),
        first_token_seconds=median(each.usage.time_to_first_token_seconds for each in outcomes),
    )


def _by(outcomes: Iterable[Outcome], key: Callable[[Outcome], _Key]) -> dict[_Key, list[Outcome]]:
    found: dict[_Key, list[Outcome]] = {}
    for each in outcomes:
        found.setdefault(key(each), []).append(each)
    return found


def age_bin(age_seconds: float | None) -> str | None:
    """The bin of `AGES` that something so long ago is in; None where that is not known, and for
    what was not before the moment of asking.
    """
    if age_seconds is None or age_seconds <= 0:
        return None
    return next(name for name, end in AGES.items() if age_seconds < end)


def tables(reports: Sequence[MethodReport]) -> list[Table]:
    """Accuracy by group, by age and by family, and what it cost; for people."""
    made = [_by_method("METHOD, BY GROUP", reports, [report.groups for report in reports])]
    ages = [report.ages for report in reports]
    if any(ages):
        made.append(_by_method("METHOD, BY AGE", reports, ages))
    if any(report.own_averages for report in reports):
        made.append(_own_averages(reports))
    return [*made, _by_family(reports), _costs(reports)]


def _by_method(
    title: str, reports: Sequence[MethodReport], parts: Sequence[dict[str, Accuracy]]
) -> Table:
    """A row for each method; a column for each part, its number of items behind its name."""
    totals = _totals(parts)
    table = _table(title, [f"{name} [{total}]" for name, total in totals.items()])
    for report, part in zip(reports, parts, strict=True):
        table.add_row(Text(report.method), *(_percent(part.get(name)) for name in totals))
    return table


def _by_family(reports: Sequence[MethodReport]) -> Table:
    """The other way round, as there are many: a row for each family, a column for each method."""
    parts = [report.families for report in reports]
    table = _table("FAMILY", [report.method for report in reports])
    for name, total in _totals(parts).items():
        table.add_row(Text(f"{name} [{total}]"), *(_percent(part.get(name)) for part in parts))
    return table


def _totals(parts: Sequence[dict[str, Accuracy]]) -> dict[str, int]:
    """Names and numbers of items; ages from young to old, others as they come."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    if set(names) <= set(AGES):
        names.sort(key=list(AGES).index)
    return {name: max(part[name].total for part in parts if name in part) for name in names}


def _percent(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "-"
    low, high = accuracy.interval
    return f"{100 * accuracy.share:.1f} ({100 * low:.0f}-{100 * high:.0f})"


def _own_averages(reports: Sequence[MethodReport]) -> Table:
    names = list(dict.fromkeys(name for report in reports for name in report.own_averages))
    table = _table("METHOD, BY THE SUITE'S OWN SCORE", names)
    for report in reports:
        shares = [report.own_averages.get(name) for name in names]
        cells = ["-" if share is None else f"{100 * share:.1f}" for share in shares]
        table.add_row(Text(report.method), *cells)
    return table


def _costs(reports: Sequence[MethodReport]) -> Table:
    columns = ["CLIPS ENCODED", "TOKENS KEPT", "CONTEXT TOKENS", "KV, MiB", "FIRST TOKEN, ms"]
    table = _table("METHOD", columns)
    for report in reports:
        cost = report.cost
        table.add_row(
            Text(report.method),
            f"{100 * cost.encoded_ratio:.0f} %",
            "-" if cost.kept_ratio is None else f"{100 * cost.kept_ratio:.1f} %",
            f"{cost.context_tokens:.0f}",
            f"{cost.kv_bytes / _MEBI:.1f}",
            f"{1000 * cost.first_token_seconds:.0f}",
        )
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(title, overflow="fold")
    for column in columns:
        table.add_column(Text(column), justify="right", overflow="fold")
    return table


def as_json(reports: Sequence[MethodReport], outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """The reports and every single outcome, as plain values."""
    return {
        "methods": [_method_as_json(report) for report in reports],
        "outcomes": [outcome_as_json(each) for each in outcomes],
    }


def _method_as_json(report: MethodReport) -> dict[str, Any]:
    accuracies = {
        part: {name: _accuracy_as_json(each) for name, each in getattr(report, part).items()}
        for part in ("groups", "families", "ages")
    }
    return {
        "method": report.method,
        **accuracies,
        "own_averages": report.own_averages,
        "cost": asdict(report.cost),
    }


def _accuracy_as_json(accuracy: Accuracy) -> dict[str, Any]:
    return {
        "right": accuracy.right,
        "total": accuracy.total,
        "share": accuracy.share,
        "interval_95": list(accuracy.interval),
    }


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """One outcome, as plain values."""
    memory, usage = outcome.memory, outcome.usage
    return {
        "video_id": outcome.video_id,
        "method": outcome.method,
        **asdict(outcome.item),
        "given_answer": outcome.answer,
        "is_right": outcome.is_right,
        "own_score": outcome.own_score,
        "clips_encoded": memory.clips_encoded,
        "clips_unchanged": memory.clips_unchanged,
        "tokens_seen": memory.tokens_seen,
        "tokens_kept": memory.tokens_kept,
        "kv_bytes": memory.kv_bytes,
        "evicted_blocks": memory.evicted_blocks,
        "context_tokens": outcome.context_tokens,
        "time_to_first_token_seconds": usage.time_to_first_token_seconds,
    }
