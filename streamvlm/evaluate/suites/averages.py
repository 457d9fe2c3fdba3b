"""How benchmarks add their scores up."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from streamvlm.evaluate.items import Item

Scored = Iterable[tuple[Item, float | None]]
"""Items with their own score; None where the benchmark does not count the answer."""


def over_items(scored: Scored) -> float:
    """Every item counts the same; 0 where there is none."""
    scores = [score for _, score in scored if score is not None]
    return fmean(scores) if scores else 0.0


def over_families(scored: Scored) -> float:
    """The mean of the means of the families; 0 where there is none."""
    families: dict[str, list[float]] = {}
    for item, score in scored:
        if score is not None:
            families.setdefault(item.family, []).append(score)
    return fmean(map(fmean, families.values())) if families else 0.0


def by_group(scored: Scored) -> dict[str, list[tuple[Item, float | None]]]:
    """The scores of each group, groups in the order in which they come."""
    groups: dict[str, list[tuple[Item, float | None]]] = {}
    for item, score in scored:
        groups.setdefault(item.group, []).append((item, score))
    return groups
