"""Named ways to form the context of an answer, each as settings laid over a config.

`full` is the oracle. `STRATEGY@RATIO` is the oracle with that strategy and nothing else changed, so
that what differs is the reduction. `CHOICE:TOKENS` is the oracle that recalls at most so many
tokens, those of that choice: nothing is reduced before a question comes. `service` is the config as
it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from streamvlm.config import Config
from streamvlm.errors import ConfigError
from streamvlm.reduce import (
    REDUCERS,
    SEGMENT_REDUCERS,
    AnyReducer,
    Reduced,
    build_reducer,
    open_stream,
)
from streamvlm.remember.choosing import CHOICES
from streamvlm.types import VisualTokens

_EVERYTHING = 2**31 - 1

_ORACLE: dict[str, dict[str, Any]] = {
    "reduce": {"name": "all"},
    "remember": {
        "budget_bytes": 2**62,
        "local_blocks": _EVERYTHING,
        "position_policy": "keep",
        "max_span": _EVERYTHING,
        "candidate_tokens": 0,
        "recall_selection": "shared",
        "now_recalls_nothing": False,
    },
    "respond": {"recall_blocks": _EVERYTHING},
}
"""Nothing reduced, nothing forgotten, everything recalled, every block attends to all before it."""

_BISECTIONS = 14
"""Halvings of the range of thresholds, 0 to 2: to a ten-thousandth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to form the context."""

    name: str
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Section -> keys that differ from the config's; `reduce` is replaced as a whole."""
    is_gated: bool = False
    """Clips that show nothing new are not encoded."""
    reads_times: bool = False
    """A question that names a time recalls that time alone; otherwise its words are the model's
    alone, as in the baselines."""
    is_window: bool = False
    """The fresh window is all there is: an answer is given as if the stream had begun with it.

    That is no strategy of reduction: those decide once what memory keeps of a clip, when it leaves
    the window, and which clips are the newest is known only when a question comes."""
    fitted_ratio: float | None = None
    """The keep ratio that the threshold of the strategy must still be fitted to."""

    def over(self, config: Config) -> Config:
        """The config with this method's settings. Raises ConfigError while a threshold is not
        fitted.
        """
        if self.fitted_ratio is not None:
            raise ConfigError(f"method {self.name}: its threshold is not fitted yet")
        sections = config.model_dump()
        for section, settings in self.settings.items():
            kept = {} if section == "reduce" else sections[section]
            sections[section] = {**kept, **settings}
        return Config.model_validate(sections)

    def fitted(self, clips: Sequence[VisualTokens]) -> Method:
        """The same with the threshold that keeps about `fitted_ratio` of these clips' tokens, in
        the order of the stream; itself where there is nothing to fit.

        Thresholds mean something else for every model and scene, ratios do not. The ratio that is
        kept elsewhere will differ: report that one.
        """
        if self.fitted_ratio is None:
            return self
        reduce = dict(self.settings["reduce"])
        reduce["threshold"] = _threshold(reduce, self.fitted_ratio, clips)
        return replace(self, settings={**self.settings, "reduce": reduce}, fitted_ratio=None)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(name="full", settings=_ORACLE),
        Method(
            name="last-4-frames",
            settings={**_ORACLE, "respond": {"fresh_clips": 2, "recall_blocks": 0}},
            is_window=True,
        ),
        Method(
            name="last-8-frames",
            settings={**_ORACLE, "respond": {"fresh_clips": 4, "recall_blocks": 0}},
            is_window=True,
        ),
        Method(name="service", is_gated=True, reads_times=True),
        Method(
            name="service-no-memory",
            settings={"respond": {"recall_blocks": 0}},
            is_gated=True,
            reads_times=True,
        ),
    )
}
"""Methods with a fixed name."""


def method(name: str) -> Method:
    """The method of this name: one of `METHODS`, `STRATEGY@RATIO` with a ratio in (0, 1], or
    `CHOICE:TOKENS` with at least one token.

    Raises ConfigError that names what is allowed.
    """
    if name in METHODS:
        return METHODS[name]
    choice, colon, tokens = name.partition(":")
    if colon and choice in CHOICES:
        return _of_choice(name, choice, tokens)
    strategy, at, text = name.partition("@")
    if not at or not knobs(strategy):
        adjustable = [f"{each}@RATIO" for each in (*SEGMENT_REDUCERS, *REDUCERS) if knobs(each)]
        raise ConfigError(
            f"no method {name!r}; allowed: {', '.join([*METHODS, *adjustable])}, "
            "with a RATIO such as 0.25, "
            f"{', '.join(f'{each}:TOKENS' for each in CHOICES)}, with TOKENS such as 512"
        )
    try:
        ratio = float(text)
    except ValueError:
        ratio = float("nan")
    if not 0 < ratio <= 1:
        raise ConfigError(f"method {name!r}: the ratio must be a number in (0, 1], got {text!r}")
    if "keep_ratio" in knobs(strategy):
        reduce = {"name": strategy, "keep_ratio": ratio}
        return Method(name=name, settings={**_ORACLE, "reduce": reduce})
    return Method(name=name, settings={**_ORACLE, "reduce": {"name": strategy}}, fitted_ratio=ratio)


def _of_choice(name: str, choice: str, tokens: str) -> Method:
    """Raises ConfigError where `tokens` is no number above 0."""
    if not (tokens.isascii() and tokens.isdigit() and int(tokens)):
        raise ConfigError(f"method {name!r}: the tokens must be a whole number > 0, got {tokens!r}")
    recall = {"recall_tokens": int(tokens), "recall_choice": choice}
    return Method(name=name, settings={**_ORACLE, "remember": {**_ORACLE["remember"], **recall}})


def knobs(strategy: str) -> set[str]:
    """The settings of a strategy that decide how much it keeps."""
    settings: Any = {**SEGMENT_REDUCERS, **REDUCERS}.get(strategy)
    if settings is None:
        return set()
    return {each.name for each in fields(settings)} & {"keep_ratio", "threshold"}


def _threshold(reduce: Mapping[str, Any], ratio: float, clips: Sequence[VisualTokens]) -> float:
    """By bisection: the higher the threshold, the less is kept. Of all tried the nearest wins, as
    what a strategy keeps of a clip also changes what it compares the next one with.
    """
    low, high = 0.0, 2.0
    tried: list[tuple[float, float]] = []
    for _ in range(_BISECTIONS):
        threshold = (low + high) / 2
        kept = kept_ratio(build_reducer({**reduce, "threshold": threshold}), clips)
        tried.append((abs(kept - ratio), threshold))
        low, high = (threshold, high) if kept > ratio else (low, threshold)
    return min(tried)[1]


def kept_ratio(reducer: AnyReducer, clips: Sequence[VisualTokens]) -> float:
    """The share of the tokens that a strategy keeps of a stream of these clips.

    A clip that begins before the one in front of it starts a new stream.
    """
    reduction, kept, before = open_stream(reducer, 1), list[Reduced](), -math.inf
    for tokens, following in zip(clips, [*clips[1:], None], strict=True):
        if tokens.pts_seconds <= before:
            kept += reduction.flush()
            reduction = open_stream(reducer, 1)
        before = tokens.pts_seconds
        is_last = following is None or following.pts_seconds <= before
        kept += reduction.push(tokens, None if is_last else following)
    kept += reduction.flush()
    seen = sum(map(len, clips))
    return sum(each.num_tokens for each in kept) / seen if seen else 1.0
