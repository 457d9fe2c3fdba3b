"""One answer being given, a step at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from streamvlm.respond.prompt import Prompt
from streamvlm.respond.sampling import choose
from streamvlm.types import (
    AnswerEvent,
    AnswerFinished,
    AnswerStarted,
    AnswerToken,
    AskedTime,
    Evidence,
    FinishReason,
    Gap,
    Question,
    Usage,
)
from streamvlm.vlm import VLM, Context

_INCOMPLETE = "�"
"""What a tokenizer shows for a character whose bytes have not all come yet."""


class Answering:
    """The life of one answer: `advance` prefills first and then gives a token at a time. `step`
    does the same but for running the token that it gives: `run_chosen` does that for many at once.

    Works on a copy of the keys and values, made at the first `advance`: later frames, evictions and
    other questions do not change it, and it changes nothing.
    """

    def __init__(
        self,
        vlm: VLM,
        question: Question,
        prompt: Prompt,
        *,
        evidence: Sequence[Evidence],
        gaps: Sequence[Gap],
        asked_at: float,
        asked: AskedTime | None = None,
    ) -> None:
        """`asked_at` is the `time.monotonic()` at which the question came in; `asked` the time that
        it asks about.
        """
        self.question = question
        self._vlm, self._asked_at = vlm, asked_at
        self._prompt: Prompt | None = prompt
        self._prompt_tokens, self._recalled_tokens = prompt.num_inputs, prompt.num_recalled
        self._started = AnswerStarted(
            question_id=question.question_id,
            evidence=tuple(evidence),
            gaps=tuple(gaps),
            asked=asked,
        )
        self._generator = torch.Generator().manual_seed(question.sampling.seed)
        self._context: Context | None = None
        self._logits: Tensor | None = None
        self._position = prompt.next_position
        self._token_ids: list[int] = []
        self._has_chosen = False
        self._text = ""
        self._first_token_at: float | None = None

    def advance(self) -> list[AnswerEvent]:
        """Do the next piece of work; an `AnswerFinished` is the last event."""
        events = self.step()
        run_chosen([self])
        return events

    def step(self) -> list[AnswerEvent]:
        """`advance` up to a chosen token, which must be run before the next step."""
        if self._prompt is not None:
            self._context, done = self._prompt.run(self._vlm)
            self._logits = done.logits
            self._prompt = None  # blocks that memory forgets meanwhile need not stay for us
            return [self._started]
        assert self._context is not None and self._logits is not None
        token_id = choose(self._logits, self.question.sampling, self._generator)
        self._first_token_at = self._first_token_at or time.monotonic()
        if token_id in self._vlm.stop_token_ids:
            rest = self._new_text(is_last=True)
            told = [self._token(token_id, rest)] if rest else []
            return [*told, self.finish(FinishReason.STOP)]
        self._token_ids.append(token_id)
        is_last = len(self._token_ids) >= self.question.sampling.max_new_tokens
        events: list[AnswerEvent] = [self._token(token_id, self._new_text(is_last=is_last))]
        if is_last:
            return [*events, self.finish(FinishReason.LENGTH)]
        self._has_chosen = True
        return events

    def finish(self, reason: FinishReason) -> AnswerFinished:
        """The last event, with what the answer cost so far."""
        now = time.monotonic()
        return AnswerFinished(
            question_id=self.question.question_id,
            text=self._vlm.text_of(self._token_ids),
            finish_reason=reason,
            usage=Usage(
                prompt_tokens=self._prompt_tokens,
                recalled_tokens=self._recalled_tokens,
                answer_tokens=len(self._token_ids),
                time_to_first_token_seconds=(self._first_token_at or now) - self._asked_at,
                total_seconds=now - self._asked_at,
            ),
        )

    def _token(self, token_id: int, text: str) -> AnswerToken:
        return AnswerToken(question_id=self.question.question_id, text=text, token_id=token_id)

    def _new_text(self, *, is_last: bool) -> str:
        """What was not told yet; held back while a character is incomplete and may become whole."""
        text = self._vlm.text_of(self._token_ids)
        if text.endswith(_INCOMPLETE) and not is_last:
            return ""
        new = text[len(self._text) :]
        self._text = text
        return new


def run_chosen(answerings: Sequence[Answering]) -> None:
    """Run the tokens that some of these, all of one model, have chosen: one forward for all of
    them. Where it fails, none has moved.
    """
    chosen = [each for each in answerings if each._has_chosen]
    if not chosen:
        return
    contexts = [each._context for each in chosen if each._context is not None]
    logits = chosen[0]._vlm.decode_together(
        [each._token_ids[-1] for each in chosen], [each._position for each in chosen], contexts
    )
    for each, own in zip(chosen, logits, strict=True):
        each._logits, each._has_chosen = own, False
        each._position += 1
