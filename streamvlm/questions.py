"""Questions from their arrival to the last event of their answer: bounded, and given together."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from streamvlm.config import RespondConfig
from streamvlm.errors import CapacityError, QuestionError, StreamVLMError
from streamvlm.respond import Answering, run_chosen
from streamvlm.types import (
    AnswerEvent,
    AnswerFailed,
    AnswerFinished,
    FinishReason,
    Question,
    Usage,
)
from streamvlm.vlm.base import DEVICE_LOST

log = logging.getLogger(__name__)

Listener = Callable[[AnswerEvent], None]
"""Called on the engine's thread with each event of an answer; must not block."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 10.0
"""Of sampling; 0 means greedy. Below, logits divided by it may not fit a float."""
MAX_SEED = 2**32
"""The generator of torch on the cpu reads no more bits of a seed: larger ones would repeat answers.
"""


@dataclass(slots=True, kw_only=True, eq=False)
class _Inquiry:
    question: Question
    listener: Listener
    asked_at: float = field(default_factory=time.monotonic)
    answering: Answering | None = None
    is_cancelled: bool = False


class QuestionQueue:
    """Questions that wait or are being answered. `advance` belongs to the engine's thread, the rest
    to any.
    """

    def __init__(
        self,
        limits: RespondConfig,
        max_questions: int,
        max_answers: int,
        begin: Callable[[Question, float], Answering],
    ) -> None:
        """`begin` starts an answer for a question that came in at a `time.monotonic()`; it may
        raise.
        """
        self._limits, self._begin = limits, begin
        self._max_questions, self._max_answers = max_questions, max_answers
        self._lock = threading.Lock()
        self._inquiries: OrderedDict[str, _Inquiry] = OrderedDict()
        self._closed_by: StreamVLMError | None = None

    def __len__(self) -> int:
        return len(self._inquiries)

    def add(self, question: Question, listener: Listener) -> None:
        """Queue a question. Raises QuestionError, CapacityError, or what the queue was closed
        with.
        """
        check(question, self._limits)
        with self._lock:
            if self._closed_by:
                raise self._closed_by
            if question.question_id in self._inquiries:
                raise QuestionError(f"question id {question.question_id!r} is being answered")
            if len(self._inquiries) >= self._max_questions:
                raise CapacityError(
                    f"{len(self._inquiries)} questions are waiting, engine.max_questions allows "
                    "no more"
                )
            self._inquiries[question.question_id] = _Inquiry(question=question, listener=listener)

    def cancel(self, question_id: str) -> None:
        """End an answer at its next step; unknown and finished questions are left alone."""
        with self._lock:
            if inquiry := self._inquiries.get(question_id):
                inquiry.is_cancelled = True

    def advance(self) -> bool:
        """Begin the answer to the question that has waited longest, or give the next token of all
        answers that are being given, by turns; False where there is nothing to do.

        At most `max_answers` answers are being given at a time, since each holds a copy of what it
        recalled; the other questions wait. Cancelled ones end at once.
        """
        inquiries = self._next()
        for inquiry in inquiries:
            self._hand_over(inquiry, self._step(inquiry))
        self._run([inquiry for inquiry in inquiries if self._is_in(inquiry)])
        return bool(inquiries)

    def _next(self) -> list[_Inquiry]:
        """Who takes the next step, together."""
        with self._lock:
            inquiries = list(self._inquiries.values())
            begun = [each for each in inquiries if each.answering is not None]
            may_begin = len(begun) < self._max_answers
            first = next((i for i in inquiries if may_begin or i.answering or i.is_cancelled), None)
            if first is None:
                return []
            together = begun if first.answering else [first]
            for each in together:
                self._inquiries.move_to_end(each.question.question_id)
            return together

    def _is_in(self, inquiry: _Inquiry) -> bool:
        with self._lock:
            return inquiry.question.question_id in self._inquiries

    def _hand_over(self, inquiry: _Inquiry, events: list[AnswerEvent]) -> None:
        """Tell events; the last one ends the inquiry. Nothing where it was closed meanwhile: its
        last event has been told.
        """
        if not self._is_in(inquiry):
            return
        is_over = any(isinstance(event, AnswerFinished | AnswerFailed) for event in events)
        if not _tell(inquiry, events) or is_over:
            with self._lock:
                self._inquiries.pop(inquiry.question.question_id, None)

    def _run(self, inquiries: list[_Inquiry]) -> None:
        """Run the tokens that these have chosen; one whose token cannot be run fails alone."""
        try:
            run_chosen([i.answering for i in inquiries if i.answering is not None])
        except DEVICE_LOST:
            raise
        except Exception as error:
            if len(inquiries) == 1:
                self._hand_over(inquiries[0], [_failed_by(inquiries[0], error)])
                return
            for inquiry in inquiries:
                self._run([inquiry])

    def end_begun(self, stream_id: str) -> None:
        """End the answers about a stream that are being given: they hold what they recalled."""
        with self._lock:
            begun = [
                inquiry
                for inquiry in self._inquiries.values()
                if inquiry.answering is not None and inquiry.question.stream_id == stream_id
            ]
            for inquiry in begun:
                del self._inquiries[inquiry.question.question_id]
        for inquiry in begun:
            _tell(inquiry, [_cancelled(inquiry)])

    def close(self, error: StreamVLMError) -> None:
        """Take no more questions, and fail those that wait."""
        with self._lock:
            self._closed_by = error
            waiting = list(self._inquiries.values())
            self._inquiries.clear()
        for inquiry in waiting:
            _tell(inquiry, [_failed(inquiry, error)])

    def _step(self, inquiry: _Inquiry) -> list[AnswerEvent]:
        try:
            if inquiry.is_cancelled:
                return [_cancelled(inquiry)]
            if inquiry.answering is None:
                inquiry.answering = self._begin(inquiry.question, inquiry.asked_at)
            return inquiry.answering.step()
        except DEVICE_LOST:
            raise
        except Exception as error:
            return [_failed_by(inquiry, error)]


def _failed_by(inquiry: _Inquiry, error: Exception) -> AnswerFailed:
    """What is no error of ours is a defect: the log has it whole."""
    if not isinstance(error, StreamVLMError):
        question = inquiry.question
        log.exception("stream %s: question %s", question.stream_id, question.question_id)
    return _failed(inquiry, error)


def _failed(inquiry: _Inquiry, error: Exception) -> AnswerFailed:
    return AnswerFailed(question_id=inquiry.question.question_id, error=error)


def _cancelled(inquiry: _Inquiry) -> AnswerFinished:
    if inquiry.answering is not None:
        return inquiry.answering.finish(FinishReason.CANCELLED)
    waited_seconds = time.monotonic() - inquiry.asked_at
    return AnswerFinished(
        question_id=inquiry.question.question_id,
        text="",
        finish_reason=FinishReason.CANCELLED,
        usage=Usage(
            prompt_tokens=0,
            recalled_tokens=0,
            answer_tokens=0,
            time_to_first_token_seconds=waited_seconds,
            total_seconds=waited_seconds,
        ),
    )


def _tell(inquiry: _Inquiry, events: list[AnswerEvent]) -> bool:
    """Hand over events; False when the listener is broken, which must not end the engine."""
    try:
        for event in events:
            inquiry.listener(event)
    except Exception:
        log.exception("stream %s: a listener failed", inquiry.question.stream_id)
        return False
    return True


def check(question: Question, limits: RespondConfig) -> None:
    """Raise QuestionError that names the wrong value and what is allowed."""
    sampling = question.sampling
    check_text(question.text, limits)
    if not 1 <= sampling.max_new_tokens <= limits.max_new_tokens:
        raise QuestionError(
            f"max_new_tokens = {sampling.max_new_tokens}; allowed: 1 to {limits.max_new_tokens}"
        )
    if sampling.temperature != 0 and not (
        MIN_TEMPERATURE <= sampling.temperature <= MAX_TEMPERATURE
    ):
        raise QuestionError(
            f"temperature = {sampling.temperature}; "
            f"allowed: 0, or {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}"
        )
    if not 0 <= sampling.seed < MAX_SEED:
        raise QuestionError(f"seed = {sampling.seed}; allowed: 0 to {MAX_SEED - 1}")
    if not 0 < sampling.top_p <= 1:
        raise QuestionError(f"top_p = {sampling.top_p}; allowed: above 0, at most 1")


def check_text(text: str, limits: RespondConfig) -> None:
    """Raise QuestionError where there is no text, or too much."""
    if not text.strip():
        raise QuestionError("the question is empty")
    if len(text) > limits.max_question_characters:
        raise QuestionError(
            f"the question has {len(text)} characters; at most {limits.max_question_characters} "
            "are allowed"
        )
