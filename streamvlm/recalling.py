"""What a question brings back from the memory of its stream: probe, index, attention, budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streamvlm.remember import NOTHING, KVMemory, RecallSettings, Stretch
from streamvlm.respond import asks_about_now, most_attended, probe_of
from streamvlm.types import Recall
from streamvlm.vlm import VLM
from streamvlm.vlm.positions import PositionPolicy


class Recalls(Protocol):
    """A way to recall. Reads a memory, never changes it."""

    def recall(self, question: str, within: Sequence[Stretch] | None) -> Recall:
        """What comes back for a question; only of the stretches `within` where they are given."""
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

    def recall(self, question: str, within: Sequence[Stretch] | None) -> Recall:
        """See `Recalls`. A first pass over the question alone gives the probe that the index is
        searched with, a second one over what it found says what the model attends to.
        """
        is_about_now = self.settings.now_recalls_nothing and asks_about_now(question)
        if is_about_now or not (self.num_blocks and self.memory.blocks):
            return NOTHING
        sinks = self.memory.sinks
        probe = probe_of(self.vlm, question, sinks)
        if not self.settings.candidate_tokens:
            return self.memory.recall(probe, self.num_blocks, within)
        candidates = self.memory.find(
            probe, self.num_blocks, within, max_tokens=self.settings.candidate_tokens
        )
        attended = most_attended(
            self.vlm,
            question,
            sinks=sinks,
            candidates=candidates,
            num_blocks=self.num_blocks,
            policy=self.policy,
            max_span=self.max_span,
        )
        return self.memory.fit(attended, probe)
