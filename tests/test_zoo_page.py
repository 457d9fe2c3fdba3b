"""The page of the zoo is made of the figures that are there, and of nothing else."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from streamvlm.evaluate.world.questions import FAMILIES
from streamvlm.reduce.table import strategies

ROOT = Path(__file__).parent.parent


@pytest.fixture
def zoo_page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("zoo_page")


def accuracy(right: int, total: int = 100) -> dict[str, Any]:
    share = right / total
    interval = [share - 0.05, share + 0.05]
    return {"right": right, "total": total, "share": share, "interval_95": interval}


def row(method: str, past: int, kept: float | None, **families: int) -> dict[str, Any]:
    return {
        "method": method,
        "groups": {"past": accuracy(past), "now": accuracy(90)},
        "families": {name: accuracy(right, 10) for name, right in families.items()},
        "cost": {"kept_ratio": kept},
    }


MACHINE = {"command": "python x.py", "cpu": "a cpu", "device": "cpu", "date": "2026", "commit": "c"}
ZOO = {
    "machine": MACHINE,
    "videos": 1,
    "seconds": 8.0,
    "weights": "abc",
    "items": [],
    "blind": {"past": 0.2},
    "methods": [
        row("full", 80, None, first=9, number_was=8, count=7),
        row("uniform@0.1", 40, 0.0949, first=1, number_was=7, count=8),
        row("dtd@0.1", 70, 0.101, first=9, number_was=8, count=7),
        row("mmr@0.1", 75, 0.1, first=9, number_was=4, count=7),
    ],
    "past_against_compressor": [{"method": "mmr@0.1", "ours": 3, "theirs": 1, "p": 0.625}],
}
CPU = {"machine": MACHINE, "shapes": {"qwen2.5-vl-7b": {"ms_a_clip": {"mmr": 10.45}}}}


def lines_of(page: str, method: str) -> list[list[str]]:
    """The cells of its lines in the four tables."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [each for each in cells if any(f"`{method}`" in cell for cell in each[:2])]


def test_the_page_is_that_of_the_figures_and_strategies_of_now(zoo_page: ModuleType) -> None:
    assert zoo_page.PAGE.read_text() == zoo_page.of_stored(), "run: python benchmarks/zoo_page.py"


def test_what_was_not_measured_is_a_dash(zoo_page: ModuleType) -> None:
    page = zoo_page.page({}, {}, {})
    for name in strategies():
        ranking, past, now, origin = lines_of(page, name)
        assert set(ranking) == {"-", f"`{name}`"}
        assert set(past[1:]) == set(now[1:]) == {"-"}
        assert f"[`{name}`](../streamvlm/reduce/" in origin[0]


def test_figures_come_to_their_places(zoo_page: ModuleType) -> None:
    page = zoo_page.page(ZOO, CPU, {})
    ranking, past, now, _ = lines_of(page, "mmr")
    known = "75 (70-80) / 90 / 10 %"
    assert ranking == ["1=", "`mmr`", "-", "-", known, "-", "1 : 3 (0.62)", "10", "-"]
    assert past[-1] == "numbers: what it had on it"
    assert past.count("9") == 1 and past.count("4") == 1
    assert now.count("7") == 1
    assert "- everything kept: 80 (75-85) / 90 / -" in page
    assert "order: what came first (10)" in page


def test_the_best_is_first_and_ties_share_their_rank(zoo_page: ModuleType) -> None:
    page = zoo_page.page(ZOO, CPU, {})
    order = re.findall(r"^\| (\S+) \| `(\w+)` \|", page, re.MULTILINE)
    assert order[:3] == [("1=", "mmr"), ("1=", "dtd"), ("3", "uniform")]
    assert {rank for rank, _ in order[3:]} == {"-"}


def test_a_tie_is_with_the_best_of_it_and_no_chain(zoo_page: ModuleType) -> None:
    shares = {"a": 90, "b": 82, "c": 74, "d": 50}
    ranks = zoo_page.ranked({name: accuracy(share) for name, share in shares.items()})
    assert ranks == {"a": "1=", "b": "1=", "c": "3", "d": "4"}


def test_what_is_known_as_well_as_in_full_is_not_forgotten(zoo_page: ModuleType) -> None:
    full, *_, mmr = ZOO["methods"]
    assert zoo_page.forgotten(full, full) == "-"
    assert zoo_page.forgotten(full, mmr) == "numbers: what it had on it"


def test_every_family_has_plain_words(zoo_page: ModuleType) -> None:
    assert {**zoo_page.PAST, **zoo_page.NOW}.keys() == FAMILIES.keys()


def test_every_place_that_the_page_leads_to_is_there(zoo_page: ModuleType) -> None:
    for page in ("zoo.md", "adding-a-strategy.md"):
        links = re.findall(r"\]\(([^#)h][^)]*)\)", (ROOT / "docs" / page).read_text())
        assert links
        for link in links:
            assert (ROOT / "docs" / link).exists(), link
