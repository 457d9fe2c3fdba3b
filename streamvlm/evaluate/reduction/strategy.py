"""The strategy that somebody asks for, as a method whose settings are those of `reduce` alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamvlm.config import Config
from streamvlm.errors import ConfigError
from streamvlm.evaluate.methods import Method, knobs, method
from streamvlm.reduce import REDUCERS, SEGMENT_REDUCERS, build_reducer


def strategy(name: str | None, settings: Sequence[str], config: Config) -> Method:
    """NAME or NAME@RATIO, or the config's where there is none, with settings KEY=VALUE over it.

    Raises ConfigError that names what is allowed.
    """
    found = _named(name, config)
    reduce = dict(found.settings["reduce"])
    for text in settings:
        key, value = _setting(text)
        is_ratio = name is not None and "@" in name and key in knobs(name.partition("@")[0])
        if key == "name" or is_ratio:
            raise ConfigError(f"--set {text}: --strategy says that already")
        reduce[key] = value
    build_reducer(reduce)
    return replace(found, settings={"reduce": reduce})


def _named(name: str | None, config: Config) -> Method:
    if name is None:
        return Method(name=str(config.reduce.get("name")), settings={"reduce": config.reduce})
    plain = name.partition("@")[0]
    build_reducer({"name": plain})
    if plain == name:
        return Method(name=name, settings={"reduce": {"name": name}})
    if not knobs(plain):
        those = ", ".join(each for each in (*SEGMENT_REDUCERS, *REDUCERS) if knobs(each))
        raise ConfigError(f"strategy {name!r}: {plain} has no ratio; those that have: {those}")
    return method(name)


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--set {text!r}: must be KEY=VALUE, such as keep_ratio=0.1")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        # A word. Not read as YAML, where `off` is none.
        return key, value
