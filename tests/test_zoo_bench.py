"""How the bench of the zoo puts results together; what it measures is the runner's."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SUITE = {"checkpoint": "mini", "weights": "a", "videos": 1, "seconds": 8.0, "questions": 2}


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("zoo")


def row(method: str, right: str = "", **more: Any) -> dict[str, Any]:
    return {"method": method, "right": right, **more}


def test_the_compressor_is_compared_at_the_same_ratio_and_on_the_past(zoo: ModuleType) -> None:
    items = [{"group": group} for group in ("past", "now", "past", "past")]
    rows = [
        row("full", "1111"),
        row("compressor@0.1", "1011"),
        row("compressor@0.25", "0000"),
        row("mmr@0.1", "0110"),
        row("mmr@0.05", "1111"),
    ]
    (found,) = zoo.against(items, rows)
    assert found == {"method": "mmr@0.1", "ours": 2, "theirs": 0, "p": 0.5}


def test_what_is_measured_anew_takes_its_place(zoo: ModuleType) -> None:
    old = [row("full"), row("uniform@0.5"), row("uniform@0.1"), row("mmr@0.1", "0"), row("gone@1")]
    new = [row("mmr@0.1", "1"), row("divprune@0.1"), row("divprune@0.25")]
    rows = zoo.in_their_places(new, old)
    assert [each["method"] for each in rows] == [
        *("full", "uniform@0.5", "uniform@0.1", "divprune@0.25", "divprune@0.1", "mmr@0.1"),
    ]
    assert rows[-1]["right"] == "1"


def test_only_results_of_the_same_suite_and_weights_are_taken(
    zoo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zoo, "RESULTS", tmp_path)
    assert zoo.stored(SUITE) == []
    (tmp_path / "zoo.json").write_text(json.dumps({**SUITE, "methods": [row("full")]}))
    assert zoo.stored(SUITE) == [row("full")]
    for key in SUITE:
        assert zoo.stored({**SUITE, key: 7}) == []


def test_every_strategy_that_can_be_set_is_measured_at_every_ratio(zoo: ModuleType) -> None:
    names = zoo.names(zoo.adjustable(), zoo.RATIOS)
    assert len(set(names)) == len(names)
    assert {f"{each}@{ratio}" for each in zoo.adjustable() for ratio in zoo.RATIOS} <= set(names)
    assert "all" not in zoo.adjustable()


def test_another_answer_than_before_is_told(zoo: ModuleType) -> None:
    old = [row("full", "11"), row("mmr@0.1", "01"), row("dtd@0.1", "00")]
    new = [row("full", "11"), row("mmr@0.1", "10"), row("ppe@0.1", "11")]
    assert zoo.changed(new, old) == (2, ["mmr@0.1"])
