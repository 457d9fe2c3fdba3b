"""Fewer visual tokens for memory: the table of strategies, and how settings become one of them.

To add one: a file in `strategies/` and a line in `REDUCERS`; the contract test then covers it.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamvlm.errors import ConfigError
from streamvlm.reduce.base import Reducer, ReductionContext
from streamvlm.reduce.carry import reduce_clip
from streamvlm.reduce.compressor import Compressor
from streamvlm.reduce.strategies.all_tokens import AllTokens
from streamvlm.reduce.strategies.divprune import DivPrune
from streamvlm.reduce.strategies.dpp import DPP
from streamvlm.reduce.strategies.dtd import DTD
from streamvlm.reduce.strategies.evs import EVS
from streamvlm.reduce.strategies.fluxmem import FluxMem
from streamvlm.reduce.strategies.holitom import HoliTom
from streamvlm.reduce.strategies.ktv import KTV
from streamvlm.reduce.strategies.mmr import MMR
from streamvlm.reduce.strategies.random_rows import RandomRows
from streamvlm.reduce.strategies.tome import ToMe
from streamvlm.reduce.strategies.uniform import Uniform
from streamvlm.reduce.strategies.vidcom2 import VidCom2
from streamvlm.reduce.stream import AnyReducer, Opening, Reduced, StreamReduction, open_stream

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

REDUCERS: dict[str, type[Reducer]] = {
    "all": AllTokens,
    "divprune": DivPrune,
    "dpp": DPP,
    "dtd": DTD,
    "evs": EVS,
    "fluxmem": FluxMem,
    "ktv": KTV,
    "mmr": MMR,
    "random": RandomRows,
    "tome": ToMe,
    "uniform": Uniform,
    "vidcom2": VidCom2,
}

SEGMENT_REDUCERS: dict[str, type[Opening]] = {
    "compressor": Compressor,
    "holitom": HoliTom,
}
"""Those that cut a stream into segments themselves."""


def build_reducer(spec: dict[str, Any]) -> AnyReducer:
    """The strategy that `spec["name"]` names, with the other keys as its settings.

    Raises ConfigError that names the strategy, the setting and its value, and what is allowed.
    """
    settings = dict(spec)
    name = settings.pop("name", None)
    known: dict[str, Any] = {**SEGMENT_REDUCERS, **REDUCERS}
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"reduce: name = {name!r} is no strategy; known: {', '.join(known)}")
    strategy = known[name]
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
