"""What a question brings back from the memory of its stream: probe, index, attention, budget."""

from __future__ import annotations

from streamvlm.remember import NOTHING, KVMemory, RecallSettings
from streamvlm.respond import asks_about_now, most_attended
from streamvlm.types import Recall
from streamvlm.vlm import VLM
from streamvlm.vlm.positions import PositionPolicy


class Recalling:
    """How the questions about one stream recall. Reads its memory, never changes it."""

    def __init__(
        self,
        vlm: VLM,
        memory: KVMemory,
        settings: RecallSettings,
        *,
        num_blocks: int,
        policy: PositionPolicy,
        max_span: int,
    ) -> None:
        self._vlm, self._memory, self._settings = vlm, memory, settings
        self._num_blocks, self._policy, self._max_span = num_blocks, policy, max_span

    def recall(self, question: str) -> Recall:
        """A first pass over the question alone gives the probe that the index is searched with, a
        second one over what it found says what the model attends to.
        """
        is_about_now = self._settings.now_recalls_nothing and asks_about_now(question)
        if is_about_now or not (self._num_blocks and self._memory.blocks):
            return NOTHING
        sinks = self._memory.sinks
        inputs = self._vlm.lay_out_question(question, len(sinks))
        probe = self._vlm.prefill(inputs, self._vlm.open_context([sinks])).probe
        if not self._settings.candidate_tokens:
            return self._memory.recall(probe, self._num_blocks)
        candidates = self._memory.find(
            probe, self._num_blocks, max_tokens=self._settings.candidate_tokens
        )
        attended = most_attended(
            self._vlm,
            question,
            sinks=sinks,
            candidates=candidates,
            num_blocks=self._num_blocks,
            policy=self._policy,
            max_span=self._max_span,
        )
        return self._memory.fit(attended, probe)
