import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClockSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CLOCK_SOURCE_UNSPECIFIED: _ClassVar[ClockSource]
    CLOCK_SOURCE_RTCP_SR: _ClassVar[ClockSource]
    CLOCK_SOURCE_RTCP_SR_SKEWED: _ClassVar[ClockSource]
    CLOCK_SOURCE_CLIENT: _ClassVar[ClockSource]
    CLOCK_SOURCE_FILE: _ClassVar[ClockSource]
    CLOCK_SOURCE_ARRIVAL: _ClassVar[ClockSource]
CLOCK_SOURCE_UNSPECIFIED: ClockSource
CLOCK_SOURCE_RTCP_SR: ClockSource
CLOCK_SOURCE_RTCP_SR_SKEWED: ClockSource
CLOCK_SOURCE_CLIENT: ClockSource
CLOCK_SOURCE_FILE: ClockSource
CLOCK_SOURCE_ARRIVAL: ClockSource

class Instant(_message.Message):
    __slots__ = ("utc", "clock", "clock_error", "pts_seconds")
    UTC_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    CLOCK_ERROR_FIELD_NUMBER: _ClassVar[int]
    PTS_SECONDS_FIELD_NUMBER: _ClassVar[int]
    utc: _timestamp_pb2.Timestamp
    clock: ClockSource
    clock_error: _duration_pb2.Duration
    pts_seconds: float
    def __init__(self, utc: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., clock: _Optional[_Union[ClockSource, str]] = ..., clock_error: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., pts_seconds: _Optional[float] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: Instant
    end: Instant
    def __init__(self, start: _Optional[_Union[Instant, _Mapping]] = ..., end: _Optional[_Union[Instant, _Mapping]] = ...) -> None: ...

class UtcInterval(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: _timestamp_pb2.Timestamp
    end: _timestamp_pb2.Timestamp
    def __init__(self, start: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("interval", "reason")
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    interval: Interval
    reason: str
    def __init__(self, interval: _Optional[_Union[Interval, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...
