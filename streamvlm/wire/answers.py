"""Questions and answers on the wire. A failed answer travels as the status of its call."""

from __future__ import annotations

from streamvlm.types import (
    AnswerFinished,
    AnswerStarted,
    AnswerToken,
    AskedTime,
    Evidence,
    FinishReason,
    Question,
    Sampling,
    UnknownTime,
    Usage,
    UtcInterval,
)
from streamvlm.wire.times import (
    duration_from_proto,
    duration_to_proto,
    gap_from_proto,
    gap_to_proto,
    interval_from_proto,
    interval_to_proto,
    member_from_proto,
    member_to_proto,
    utc_interval_from_proto,
    utc_interval_to_proto,
)
from streamvlm.wire.v1 import query_service_pb2 as pb

GivenEvent = AnswerStarted | AnswerToken | AnswerFinished
"""An event of an answer that is being given."""


def question_to_proto(question: Question) -> pb.AskRequest:
    """What a user asks; the id is the service's to give."""
    sampling = question.sampling
    return pb.AskRequest(
        stream_id=question.stream_id,
        question=question.text,
        sampling=pb.Sampling(
            max_new_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
        ),
        during=utc_interval_to_proto(question.during) if question.during else None,
    )


def request_of(
    stream_id: str, text: str, sampling: Sampling | None, during: UtcInterval | None
) -> pb.AskRequest:
    """What a client asks."""
    return question_to_proto(
        Question(
            question_id="",
            stream_id=stream_id,
            text=text,
            sampling=sampling or Sampling(),
            during=during,
        )
    )


def question_from_proto(message: pb.AskRequest, question_id: str) -> Question:
    """What a user asks; settings that are not set have their defaults."""
    stated = {field.name: value for field, value in message.sampling.ListFields()}
    return Question(
        question_id=question_id,
        stream_id=message.stream_id,
        text=message.question,
        sampling=Sampling(**stated),
        during=utc_interval_from_proto(message.during) if message.HasField("during") else None,
    )


def evidence_to_proto(evidence: Evidence) -> pb.Evidence:
    """What an answer is given from."""
    return pb.Evidence(
        interval=interval_to_proto(evidence.interval),
        score=evidence.score,
        block_id=evidence.block_id,
        num_tokens=evidence.num_tokens,
    )


def evidence_from_proto(message: pb.Evidence) -> Evidence:
    """What an answer is given from."""
    return Evidence(
        interval=interval_from_proto(message.interval),
        score=message.score if message.HasField("score") else None,
        block_id=message.block_id if message.HasField("block_id") else None,
        num_tokens=message.num_tokens,
    )


def asked_to_proto(asked: AskedTime) -> pb.AskedTime:
    """The time that a question asks about."""
    unknown = [
        pb.UnknownTime(interval=utc_interval_to_proto(each.interval), reason=each.reason)
        for each in asked.unknown
    ]
    return pb.AskedTime(
        words=asked.words,
        intervals=map(utc_interval_to_proto, asked.intervals),
        time_zone=asked.time_zone,
        unknown=unknown,
        notes=asked.notes,
    )


def asked_from_proto(message: pb.AskedTime) -> AskedTime:
    """The time that a question asks about."""
    unknown = [
        UnknownTime(interval=utc_interval_from_proto(each.interval), reason=each.reason)
        for each in message.unknown
    ]
    return AskedTime(
        words=message.words,
        intervals=tuple(map(utc_interval_from_proto, message.intervals)),
        time_zone=message.time_zone,
        unknown=tuple(unknown),
        notes=tuple(message.notes),
    )


def usage_to_proto(usage: Usage) -> pb.Usage:
    """What an answer cost."""
    return pb.Usage(
        prompt_tokens=usage.prompt_tokens,
        recalled_tokens=usage.recalled_tokens,
        answer_tokens=usage.answer_tokens,
        time_to_first_token=duration_to_proto(usage.time_to_first_token_seconds),
        total=duration_to_proto(usage.total_seconds),
    )


def usage_from_proto(message: pb.Usage) -> Usage:
    """What an answer cost."""
    return Usage(
        prompt_tokens=message.prompt_tokens,
        recalled_tokens=message.recalled_tokens,
        answer_tokens=message.answer_tokens,
        time_to_first_token_seconds=duration_from_proto(message.time_to_first_token),
        total_seconds=duration_from_proto(message.total),
    )


def event_to_proto(event: GivenEvent) -> pb.AskResponse:
    """One event of an answer."""
    response = pb.AskResponse(question_id=event.question_id)
    if isinstance(event, AnswerStarted):
        response.started.evidence.extend(map(evidence_to_proto, event.evidence))
        response.started.gaps.extend(map(gap_to_proto, event.gaps))
        if event.asked:
            response.started.asked.CopyFrom(asked_to_proto(event.asked))
        # An answer from nothing is a start all the same.
        response.started.SetInParent()
    elif isinstance(event, AnswerToken):
        response.token.CopyFrom(pb.AnswerToken(text=event.text, token_id=event.token_id))
    else:
        reason = member_to_proto("FINISH_REASON_", event.finish_reason)
        response.finished.CopyFrom(
            pb.AnswerFinished(
                text=event.text, finish_reason=reason, usage=usage_to_proto(event.usage)
            )
        )
    return response


def event_from_proto(message: pb.AskResponse) -> GivenEvent | None:
    """One event of an answer; None for a kind that only a newer service knows."""
    question_id = message.question_id
    match message.WhichOneof("event"):
        case "started":
            started = message.started
            return AnswerStarted(
                question_id=question_id,
                evidence=tuple(map(evidence_from_proto, started.evidence)),
                gaps=tuple(map(gap_from_proto, started.gaps)),
                asked=asked_from_proto(started.asked) if started.HasField("asked") else None,
            )
        case "token":
            token = message.token
            return AnswerToken(question_id=question_id, text=token.text, token_id=token.token_id)
        case "finished":
            finished = message.finished
            return AnswerFinished(
                question_id=question_id,
                text=finished.text,
                finish_reason=member_from_proto(
                    FinishReason, pb.FinishReason, "FINISH_REASON_", finished.finish_reason
                ),
                usage=usage_from_proto(finished.usage),
            )
        case _:
            return None
