"""From settings to a strategy, and what is said when they are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from streamvlm.errors import ConfigError
from streamvlm.reduce import REDUCERS, build_reducer
from streamvlm.reduce.strategies.dtd import DTD
from streamvlm.reduce.strategies.uniform import Uniform


@pytest.mark.parametrize("name", REDUCERS)
def test_every_strategy_has_defaults(name: str) -> None:
    assert type(build_reducer({"name": name})) is REDUCERS[name]


def test_settings_arrive() -> None:
    assert build_reducer({"name": "uniform", "keep_ratio": 0.5}) == Uniform(keep_ratio=0.5)
    assert build_reducer({"name": "dtd", "max_age": 5, "neighbourhood": 3}) == DTD(
        max_age=5, neighbourhood=3
    )


def test_the_spec_is_not_changed() -> None:
    spec = {"name": "uniform", "keep_ratio": 0.5}
    build_reducer(spec)
    assert spec == {"name": "uniform", "keep_ratio": 0.5}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, ["name = None", *REDUCERS]),
        ({"name": "dtdd"}, ["'dtdd'", *REDUCERS]),
        ({"name": ["dtd"]}, ["['dtd']", *REDUCERS]),
        ({"name": "all", "keep_ratio": 1.0}, ["all", "'keep_ratio'", "allowed: none"]),
        (
            {"name": "uniform", "keep_ratoi": 0.5},
            ["uniform", "'keep_ratoi'", "allowed: keep_ratio"],
        ),
        ({"name": "uniform", "needs": []}, ["uniform", "'needs'", "allowed: keep_ratio"]),
        ({"name": "uniform", 3: 1}, ["uniform", "3", "allowed: keep_ratio"]),
        ({"name": "uniform", "keep_ratio": 0}, ["keep_ratio = 0", "greater than 0"]),
        ({"name": "uniform", "keep_ratio": 1.5}, ["keep_ratio = 1.5", "less than or equal to 1"]),
        ({"name": "uniform", "keep_ratio": float("nan")}, ["keep_ratio = nan"]),
        ({"name": "uniform", "keep_ratio": "much"}, ["keep_ratio = 'much'", "number"]),
        ({"name": "random", "seed": -1}, ["random", "seed = -1", "greater than or equal to 0"]),
        ({"name": "dtd", "neighbourhood": 2}, ["neighbourhood = 2", "1 or 3"]),
        ({"name": "dtd", "threshold": 3}, ["threshold = 3", "less than or equal to 2"]),
        ({"name": "dtd", "max_age": 0, "min_kept": 0}, ["max_age = 0", "min_kept = 0"]),
        ({"name": "dtd", "compare_with": "next"}, ["'next'", "'reference' or 'previous'"]),
        ({"name": "dtd", "compare_with": "previous", "max_age": 5}, ["max_age", "no effect"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    spec: dict[Any, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        build_reducer(spec)
    for word in ["reduce", *words]:
        assert word in str(error.value)
