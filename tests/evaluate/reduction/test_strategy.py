"""The strategy that somebody asks for."""

from __future__ import annotations

import re

import pytest

from streamvlm.config import Config
from streamvlm.errors import ConfigError
from streamvlm.evaluate.reduction.strategy import strategy

CONFIG = Config(reduce={"name": "dtd", "threshold": 0.2})


def test_the_config_decides_unless_somebody_says_otherwise() -> None:
    assert strategy(None, [], CONFIG).settings == {"reduce": {"name": "dtd", "threshold": 0.2}}
    assert strategy("tome", [], CONFIG).settings == {"reduce": {"name": "tome"}}


def test_a_ratio_is_that_of_eval() -> None:
    made = strategy("compressor@0.1", ["merge=mean"], CONFIG)
    assert made.settings["reduce"] == {"name": "compressor", "keep_ratio": 0.1, "merge": "mean"}
    fitted = strategy("dtd@0.25", ["neighbourhood=3"], CONFIG)
    assert fitted.fitted_ratio == 0.25
    assert fitted.settings["reduce"] == {"name": "dtd", "neighbourhood": 3}


def test_settings_come_over_those_of_the_config() -> None:
    made = strategy(None, ["threshold=0.4", "max_age=7"], CONFIG)
    assert made.settings["reduce"] == {"name": "dtd", "threshold": 0.4, "max_age": 7}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("compressor", "merge=off", "off"),
        ("fluxmem", "merge=false", False),
        ("dtd", "neighbourhood=3", 3),
        ("dtd", "threshold=1e-3", 0.001),
        ("dtd", "compare_with=previous", "previous"),
    ],
)
def test_a_value_is_a_number_a_truth_or_a_word(name: str, text: str, value: object) -> None:
    made = strategy(name, [text], CONFIG).settings["reduce"]
    assert made == {"name": name, text.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("name", "settings", "named"),
    [
        ("none", [], "name = 'none' is no strategy; known: all, aot"),
        ("none@0.5", [], "name = 'none' is no strategy"),
        ("uniform@2", [], "(0, 1], got '2'"),
        ("all@0.5", [], "all has no ratio; those that have: aot, centerclip"),
        ("dtd", ["treshold=1"], "no setting 'treshold'; allowed: threshold"),
        ("dtd", ["threshold=9"], "threshold = 9"),
        ("dtd", ["threshold"], "KEY=VALUE"),
        ("dtd", ["threshold=["], "threshold = '['"),
        ("dtd", ["name=all"], "--strategy"),
        ("uniform@0.5", ["keep_ratio=0.5"], "--strategy"),
        ("dtd@0.5", ["threshold=0.5"], "--strategy"),
    ],
)
def test_what_is_wrong_is_named(name: str, settings: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        strategy(name, settings, CONFIG)
