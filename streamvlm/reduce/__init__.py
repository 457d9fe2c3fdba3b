"""Fewer visual tokens for memory: the table of strategies, and how settings become one of them.

To add one: a file in `strategies/` and a line in `table.py`; the contract test then covers it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamvlm.errors import ConfigError
from streamvlm.reduce.base import Reducer, ReductionContext
from streamvlm.reduce.carry import reduce_clip
from streamvlm.reduce.stream import AnyReducer, Opening, Reduced, StreamReduction, open_stream
from streamvlm.reduce.table import strategies as _strategies

__all__ = [
    "REDUCERS",
    "SEGMENT_REDUCERS",
    "AnyReducer",
    "Reduced",
    "Reducer",
    "ReductionContext",
    "StreamReduction",
    "build_reducer",
    "open_stream",
    "reduce_clip",
]

_TABLE = _strategies()

REDUCERS: dict[str, type[Reducer]] = {
    name: strategy for name, strategy in _TABLE.items() if not hasattr(strategy, "open")
}
"""Those that reduce one clip after the other."""

SEGMENT_REDUCERS: dict[str, type[Opening]] = {
    name: strategy for name, strategy in _TABLE.items() if hasattr(strategy, "open")
}
"""Those that cut a stream into segments themselves."""


def build_reducer(spec: dict[str, Any]) -> AnyReducer:
    """The strategy that `spec["name"]` names, with the other keys as its settings.

    Raises ConfigError that names the strategy, the setting and its value, and what is allowed.
    """
    settings = dict(spec)
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in _TABLE:
        raise ConfigError(f"reduce: name = {name!r} is no strategy; known: {', '.join(_TABLE)}")
    strategy = _TABLE[name]
    allowed = [setting.name for setting in fields(strategy)]
    # pydantic ignores unknown keys of standard dataclasses: a misspelt one would be its default.
    for key in settings:
        if key not in allowed:
            names = ", ".join(allowed) or "none"
            raise ConfigError(f"reduce: {name} has no setting {key!r}; allowed: {names}")
    try:
        reducer: AnyReducer = TypeAdapter(strategy).validate_python(settings)
    except ValidationError as error:
        raise ConfigError(f"reduce: {name}: {_explain(error)}") from error
    return reducer


def _explain(error: ValidationError) -> str:
    """One line for every wrong setting: its name, what was given, what is allowed."""
    problems = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"])
        given = f"{where} = {item['input']!r}: " if where else ""
        problems.append(given + item["msg"].removeprefix("Value error, "))
    return "; ".join(problems)
