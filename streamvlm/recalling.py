"""What a question brings back from the memory of its stream: probe, index, attention, budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamvlm.remember import NOTHING, KVMemory, RecallSettings, Stretch
from streamvlm.respond import SELECTIONS, asks_about_now, first_pass, most_attended
from streamvlm.types import Recall
from streamvlm.vlm import VLM, Prefilled
from streamvlm.vlm.positions import PositionPolicy

Recalled = Callable[[Sequence[Stretch] | None], Recall]
"""What comes back for a question; only of the stretches within which it asks, where it does."""


class Recalls(Protocol):
    """A way to recall. Reads a memory, never changes it."""

    def begin(self, question: str) -> Recalled:
        """Begin to recall; to be ended before the memory changes. Until then the device may be at
        it while the host does something else.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalling:
    """How the questions about one stream recall."""

    vlm: VLM
    memory: KVMemory
    settings: RecallSettings
    num_blocks: int
    """Most blocks that come back."""
    policy: PositionPolicy
    max_span: int

    def begin(self, question: str) -> Recalled:
        """See `Recalls`. A first pass over the question alone gives the probe that the index is
        searched with, passes over what it found say what the model attends to.
        """
        is_about_now = self.settings.now_recalls_nothing and asks_about_now(question)
        if is_about_now or not (self.num_blocks and self.memory.blocks):
            return lambda within: NOTHING
        first = first_pass(self.vlm, question, self.memory.sinks)
        return lambda within: self._recalled(question, first, within)

    def _recalled(
        self, question: str, first: Prefilled, within: Sequence[Stretch] | None
    ) -> Recall:
        probe, always = first.probe, self._always(within)
        if not self.settings.candidate_tokens:
            return self.memory.recall(probe, self.num_blocks, within, always=always)
        candidates = self.memory.find(
            probe,
            self.num_blocks,
            within,
            max_tokens=self.settings.candidate_tokens,
            always=always,
        )
        attended = most_attended(
            self.vlm,
            question,
            sinks=self.memory.sinks,
            candidates=candidates,
            num_blocks=self.num_blocks,
            always=always,
            group_tokens=self.settings.group_tokens,
            policy=self.policy,
            max_span=self.max_span,
            select=SELECTIONS[self.settings.selection],
            max_tokens=self.settings.max_tokens,
        )
        return self.memory.fit(attended, probe)

    def _always(self, within: Sequence[Stretch] | None) -> list[int]:
        """Ids of the newest blocks, which nothing that compares keys finds as surely. A question
        that names a time gets that time alone.
        """
        count = self.settings.newest_blocks
        if within is not None or not count:
            return []
        return [block.block_id for block in self.memory.blocks[-count:]]
