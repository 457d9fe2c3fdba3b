import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from streamvlm.wire.v1 import time_pb2 as _time_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_CANCELLED: _ClassVar[FinishReason]
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_CANCELLED: FinishReason

class AskRequest(_message.Message):
    __slots__ = ("stream_id", "question", "sampling", "during")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    DURING_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    question: str
    sampling: Sampling
    during: _time_pb2.UtcInterval
    def __init__(self, stream_id: _Optional[str] = ..., question: _Optional[str] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., during: _Optional[_Union[_time_pb2.UtcInterval, _Mapping]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("max_new_tokens", "temperature", "top_p", "seed")
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    def __init__(self, max_new_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class AskResponse(_message.Message):
    __slots__ = ("question_id", "started", "token", "finished")
    QUESTION_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    question_id: str
    started: AnswerStarted
    token: AnswerToken
    finished: AnswerFinished
    def __init__(self, question_id: _Optional[str] = ..., started: _Optional[_Union[AnswerStarted, _Mapping]] = ..., token: _Optional[_Union[AnswerToken, _Mapping]] = ..., finished: _Optional[_Union[AnswerFinished, _Mapping]] = ...) -> None: ...

class AnswerStarted(_message.Message):
    __slots__ = ("evidence", "gaps", "asked")
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    evidence: _containers.RepeatedCompositeFieldContainer[Evidence]
    gaps: _containers.RepeatedCompositeFieldContainer[_time_pb2.Gap]
    asked: AskedTime
    def __init__(self, evidence: _Optional[_Iterable[_Union[Evidence, _Mapping]]] = ..., gaps: _Optional[_Iterable[_Union[_time_pb2.Gap, _Mapping]]] = ..., asked: _Optional[_Union[AskedTime, _Mapping]] = ...) -> None: ...

class AskedTime(_message.Message):
    __slots__ = ("words", "intervals", "time_zone", "unknown", "notes")
    WORDS_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    words: str
    intervals: _containers.RepeatedCompositeFieldContainer[_time_pb2.UtcInterval]
    time_zone: str
    unknown: _containers.RepeatedCompositeFieldContainer[UnknownTime]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, words: _Optional[str] = ..., intervals: _Optional[_Iterable[_Union[_time_pb2.UtcInterval, _Mapping]]] = ..., time_zone: _Optional[str] = ..., unknown: _Optional[_Iterable[_Union[UnknownTime, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class UnknownTime(_message.Message):
    __slots__ = ("interval", "reason")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    interval: _time_pb2.UtcInterval
    reason: str
    def __init__(self, interval: _Optional[_Union[_time_pb2.UtcInterval, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("interval", "score", "block_id", "num_tokens")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_ID_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    interval: _time_pb2.Interval
    score: float
    block_id: int
    num_tokens: int
    def __init__(self, interval: _Optional[_Union[_time_pb2.Interval, _Mapping]] = ..., score: _Optional[float] = ..., block_id: _Optional[int] = ..., num_tokens: _Optional[int] = ...) -> None: ...

class AnswerToken(_message.Message):
    __slots__ = ("text", "token_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    token_id: int
    def __init__(self, text: _Optional[str] = ..., token_id: _Optional[int] = ...) -> None: ...

class AnswerFinished(_message.Message):
    __slots__ = ("text", "finish_reason", "usage")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    text: str
    finish_reason: FinishReason
    usage: Usage
    def __init__(self, text: _Optional[str] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "recalled_tokens", "answer_tokens", "time_to_first_token", "total")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    RECALLED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_FIRST_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    recalled_tokens: int
    answer_tokens: int
    time_to_first_token: _duration_pb2.Duration
    total: _duration_pb2.Duration
    def __init__(self, prompt_tokens: _Optional[int] = ..., recalled_tokens: _Optional[int] = ..., answer_tokens: _Optional[int] = ..., time_to_first_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("text", "stream_ids", "during", "top_k")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    STREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    DURING_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    text: str
    stream_ids: _containers.RepeatedScalarFieldContainer[str]
    during: _time_pb2.UtcInterval
    top_k: int
    def __init__(self, text: _Optional[str] = ..., stream_ids: _Optional[_Iterable[str]] = ..., during: _Optional[_Union[_time_pb2.UtcInterval, _Mapping]] = ..., top_k: _Optional[int] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("moments", "searched_stream_ids", "unsearched_stream_ids")
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    SEARCHED_STREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    UNSEARCHED_STREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    moments: _containers.RepeatedCompositeFieldContainer[Moment]
    searched_stream_ids: _containers.RepeatedScalarFieldContainer[str]
    unsearched_stream_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, moments: _Optional[_Iterable[_Union[Moment, _Mapping]]] = ..., searched_stream_ids: _Optional[_Iterable[str]] = ..., unsearched_stream_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Moment(_message.Message):
    __slots__ = ("stream_id", "interval", "score", "block_id")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_ID_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    interval: _time_pb2.Interval
    score: float
    block_id: int
    def __init__(self, stream_id: _Optional[str] = ..., interval: _Optional[_Union[_time_pb2.Interval, _Mapping]] = ..., score: _Optional[float] = ..., block_id: _Optional[int] = ...) -> None: ...
