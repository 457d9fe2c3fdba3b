from streamvlm.wire.v1 import time_pb2 as _time_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AlertState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_STATE_UNSPECIFIED: _ClassVar[AlertState]
    ALERT_STATE_SUPPRESSED: _ClassVar[AlertState]
    ALERT_STATE_FIRING: _ClassVar[AlertState]
    ALERT_STATE_UPDATED: _ClassVar[AlertState]
    ALERT_STATE_RESOLVED: _ClassVar[AlertState]
    ALERT_STATE_EXPIRED: _ClassVar[AlertState]
ALERT_STATE_UNSPECIFIED: AlertState
ALERT_STATE_SUPPRESSED: AlertState
ALERT_STATE_FIRING: AlertState
ALERT_STATE_UPDATED: AlertState
ALERT_STATE_RESOLVED: AlertState
ALERT_STATE_EXPIRED: AlertState

class SubscribeRequest(_message.Message):
    __slots__ = ("resume_token", "stream_ids")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    stream_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, resume_token: _Optional[str] = ..., stream_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("resume_token", "alert", "lagged", "heartbeat")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ALERT_FIELD_NUMBER: _ClassVar[int]
    LAGGED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    alert: Alert
    lagged: Lagged
    heartbeat: Heartbeat
    def __init__(self, resume_token: _Optional[str] = ..., alert: _Optional[_Union[Alert, _Mapping]] = ..., lagged: _Optional[_Union[Lagged, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Lagged(_message.Message):
    __slots__ = ("skipped",)
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    skipped: int
    def __init__(self, skipped: _Optional[int] = ...) -> None: ...

class Alert(_message.Message):
    __slots__ = ("alert_id", "revision", "state", "rule_id", "stream_id", "began", "observed", "score", "highest_score")
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_SCORE_FIELD_NUMBER: _ClassVar[int]
    alert_id: str
    revision: int
    state: AlertState
    rule_id: str
    stream_id: str
    began: _time_pb2.Instant
    observed: _time_pb2.Instant
    score: float
    highest_score: float
    def __init__(self, alert_id: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[AlertState, str]] = ..., rule_id: _Optional[str] = ..., stream_id: _Optional[str] = ..., began: _Optional[_Union[_time_pb2.Instant, _Mapping]] = ..., observed: _Optional[_Union[_time_pb2.Instant, _Mapping]] = ..., score: _Optional[float] = ..., highest_score: _Optional[float] = ...) -> None: ...
