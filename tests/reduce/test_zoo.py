"""What the zoo asks of every strategy in its table, besides what it does."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from streamvlm.about import About
from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, strategies, table

ALL = {**REDUCERS, **SEGMENT_REDUCERS}
COMPOSED = {"compressor"}
"""Made of several steps, each of which is tested by itself; no paper has its formula."""


@pytest.mark.parametrize("name", ALL)
def test_a_strategy_says_where_it_comes_from(name: str) -> None:
    about = getattr(ALL[name], "about", None)
    assert isinstance(about, About) and about.title and about.cost
    module = inspect.getmodule(ALL[name])
    assert module is not None and about.arxiv in (module.__doc__ or "")
    assert (about.year is not None) or not about.arxiv, "a paper has a year"


def test_every_strategy_has_its_formula_among_the_references() -> None:
    references = {path.stem for path in (Path(__file__).parent / "references").glob("[a-z]*.py")}
    assert set(ALL) - COMPOSED <= references


def test_the_table_is_in_order() -> None:
    assert list(table.strategies()) == sorted(table.strategies())


def test_no_file_of_a_strategy_is_long() -> None:
    for path in Path(strategies.__path__[0]).glob("*.py"):
        assert len(path.read_text().splitlines()) <= 150, path.name
