"""Benchmarks that are read from a local copy, each with its own scoring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamvlm.evaluate.items import Case, Item
from streamvlm.evaluate.suites import mini, mlvu, ovo_bench, streamingbench, video_mme
from streamvlm.evaluate.suites.averages import Scored

__all__ = ["SUITES", "Load", "Suite"]


class Load(Protocol):
    """Reads the local copy of a suite."""

    def __call__(
        self, folder: Path, *, skip_missing: bool = False, skipped: Counter[str] | None = None
    ) -> Iterator[Case]:
        """A case for each video; its items by the time at which they are asked.

        Annotation, and that the videos are there, is checked by the call itself. What is not asked
        is counted in `skipped` by reason, and logged. Raises SuiteFormatError.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A benchmark."""

    load: Load
    own_score: Callable[[Item, str], float | None]
    """The benchmark's own rule for an answer, next to `items.is_right`; None: not counted."""
    own_averages: Callable[[Scored], Mapping[str, float]]
    """Its own way to add the own scores up, by name; 0..1."""


SUITES: dict[str, Suite] = {
    module.NAME: Suite(
        load=module.load, own_score=module.own_score, own_averages=module.own_averages
    )
    for module in (mini, streamingbench, ovo_bench, video_mme, mlvu)
}
"""By name; a suite that needs no files, such as mini, is added here too."""
