import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from streamvlm.wire.v1 import rule_service_pb2 as _rule_service_pb2
from streamvlm.wire.v1 import time_pb2 as _time_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CameraState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAMERA_STATE_UNSPECIFIED: _ClassVar[CameraState]
    CAMERA_STATE_LOST: _ClassVar[CameraState]
    CAMERA_STATE_RECOVERED: _ClassVar[CameraState]

class AlertState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_STATE_UNSPECIFIED: _ClassVar[AlertState]
    ALERT_STATE_SUPPRESSED: _ClassVar[AlertState]
    ALERT_STATE_FIRING: _ClassVar[AlertState]
    ALERT_STATE_UPDATED: _ClassVar[AlertState]
    ALERT_STATE_RESOLVED: _ClassVar[AlertState]
    ALERT_STATE_EXPIRED: _ClassVar[AlertState]
CAMERA_STATE_UNSPECIFIED: CameraState
CAMERA_STATE_LOST: CameraState
CAMERA_STATE_RECOVERED: CameraState
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
    __slots__ = ("resume_token", "alert", "lagged", "heartbeat", "camera")
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ALERT_FIELD_NUMBER: _ClassVar[int]
    LAGGED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    resume_token: str
    alert: Alert
    lagged: Lagged
    heartbeat: Heartbeat
    camera: CameraChange
    def __init__(self, resume_token: _Optional[str] = ..., alert: _Optional[_Union[Alert, _Mapping]] = ..., lagged: _Optional[_Union[Lagged, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., camera: _Optional[_Union[CameraChange, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "stream_ids")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    stream_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., stream_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AcknowledgeAlertRequest(_message.Message):
    __slots__ = ("alert_id", "acknowledged_by")
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_BY_FIELD_NUMBER: _ClassVar[int]
    alert_id: str
    acknowledged_by: str
    def __init__(self, alert_id: _Optional[str] = ..., acknowledged_by: _Optional[str] = ...) -> None: ...

class AcknowledgeAlertResponse(_message.Message):
    __slots__ = ("acknowledgement",)
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    acknowledgement: Acknowledgement
    def __init__(self, acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("acknowledged_by", "time")
    ACKNOWLEDGED_BY_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    acknowledged_by: str
    time: _timestamp_pb2.Timestamp
    def __init__(self, acknowledged_by: _Optional[str] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("alert", "camera", "acknowledgement")
    ALERT_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGEMENT_FIELD_NUMBER: _ClassVar[int]
    alert: Alert
    camera: CameraChange
    acknowledgement: Acknowledgement
    def __init__(self, alert: _Optional[_Union[Alert, _Mapping]] = ..., camera: _Optional[_Union[CameraChange, _Mapping]] = ..., acknowledgement: _Optional[_Union[Acknowledgement, _Mapping]] = ...) -> None: ...

class CameraChange(_message.Message):
    __slots__ = ("outage_id", "stream_id", "state", "blind", "reason")
    OUTAGE_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BLIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    outage_id: str
    stream_id: str
    state: CameraState
    blind: _time_pb2.Interval
    reason: str
    def __init__(self, outage_id: _Optional[str] = ..., stream_id: _Optional[str] = ..., state: _Optional[_Union[CameraState, str]] = ..., blind: _Optional[_Union[_time_pb2.Interval, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Lagged(_message.Message):
    __slots__ = ("skipped",)
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    skipped: int
    def __init__(self, skipped: _Optional[int] = ...) -> None: ...

class Alert(_message.Message):
    __slots__ = ("alert_id", "revision", "state", "rule_id", "stream_id", "began", "observed", "score", "highest_score", "rule_text", "severity", "enter_threshold", "thumbnail")
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_SCORE_FIELD_NUMBER: _ClassVar[int]
    RULE_TEXT_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ENTER_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    THUMBNAIL_FIELD_NUMBER: _ClassVar[int]
    alert_id: str
    revision: int
    state: AlertState
    rule_id: str
    stream_id: str
    began: _time_pb2.Instant
    observed: _time_pb2.Instant
    score: float
    highest_score: float
    rule_text: str
    severity: _rule_service_pb2.Severity
    enter_threshold: float
    thumbnail: bytes
    def __init__(self, alert_id: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[AlertState, str]] = ..., rule_id: _Optional[str] = ..., stream_id: _Optional[str] = ..., began: _Optional[_Union[_time_pb2.Instant, _Mapping]] = ..., observed: _Optional[_Union[_time_pb2.Instant, _Mapping]] = ..., score: _Optional[float] = ..., highest_score: _Optional[float] = ..., rule_text: _Optional[str] = ..., severity: _Optional[_Union[_rule_service_pb2.Severity, str]] = ..., enter_threshold: _Optional[float] = ..., thumbnail: _Optional[bytes] = ...) -> None: ...
