"""How one question of a suite was answered, whoever asked it: the runner or a client."""

from __future__ import annotations

from dataclasses import dataclass

from streamvlm.evaluate.items import Item, is_right
from streamvlm.types import AnswerFinished, MemoryStatus, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An item, the answer that a method gave to it, and what that cost."""

    video_id: str
    item: Item
    method: str
    answer: str
    is_right: bool
    """Strictly, by `items.is_right`."""
    own_score: float | None
    """By the suite's own rule, in 0..1; None for suites without one."""
    usage: Usage
    memory: MemoryStatus
    """What was remembered when the question was asked."""

    @classmethod
    def of(
        cls,
        item: Item,
        finished: AnswerFinished,
        memory: MemoryStatus,
        *,
        video_id: str,
        method: str,
        own_score: float | None = None,
    ) -> Outcome:
        """An answer, scored."""
        return cls(
            video_id=video_id,
            item=item,
            method=method,
            answer=finished.text,
            is_right=is_right(item, finished.text),
            own_score=own_score,
            usage=finished.usage,
            memory=memory,
        )

    @property
    def age_seconds(self) -> float | None:
        """How long ago was what the question is about; None where that is not known."""
        event = self.item.event_seconds
        return None if event is None else self.item.asked_seconds - event

    @property
    def context_tokens(self) -> int:
        """Tokens that the answer was given from: recalled, recent and the question's own."""
        return self.usage.recalled_tokens + self.usage.prompt_tokens
