import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from streamvlm.wire.v1 import stream_service_pb2 as _stream_service_pb2
from streamvlm.wire.v1 import time_pb2 as _time_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchStreamRequest(_message.Message):
    __slots__ = ("open", "clip", "gap", "feed")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    open: WatchStreamOpen
    clip: Clip
    gap: _time_pb2.Gap
    feed: _stream_service_pb2.FeedStatus
    def __init__(self, open: _Optional[_Union[WatchStreamOpen, _Mapping]] = ..., clip: _Optional[_Union[Clip, _Mapping]] = ..., gap: _Optional[_Union[_time_pb2.Gap, _Mapping]] = ..., feed: _Optional[_Union[_stream_service_pb2.FeedStatus, _Mapping]] = ...) -> None: ...

class WatchStreamOpen(_message.Message):
    __slots__ = ("stream_id", "source", "run_id", "create_time", "time_zone")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    source: str
    run_id: str
    create_time: _timestamp_pb2.Timestamp
    time_zone: str
    def __init__(self, stream_id: _Optional[str] = ..., source: _Optional[str] = ..., run_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., time_zone: _Optional[str] = ...) -> None: ...

class Clip(_message.Message):
    __slots__ = ("clip_index", "pixels", "height", "width", "times", "frame_duration")
    CLIP_INDEX_FIELD_NUMBER: _ClassVar[int]
    PIXELS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    FRAME_DURATION_FIELD_NUMBER: _ClassVar[int]
    clip_index: int
    pixels: bytes
    height: int
    width: int
    times: _containers.RepeatedCompositeFieldContainer[_time_pb2.Instant]
    frame_duration: _duration_pb2.Duration
    def __init__(self, clip_index: _Optional[int] = ..., pixels: _Optional[bytes] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., times: _Optional[_Iterable[_Union[_time_pb2.Instant, _Mapping]]] = ..., frame_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchStreamResponse(_message.Message):
    __slots__ = ("opened", "taken")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    opened: WatchStreamOpened
    taken: WatchStreamTaken
    def __init__(self, opened: _Optional[_Union[WatchStreamOpened, _Mapping]] = ..., taken: _Optional[_Union[WatchStreamTaken, _Mapping]] = ...) -> None: ...

class WatchStreamOpened(_message.Message):
    __slots__ = ("window", "stream")
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    window: int
    stream: _stream_service_pb2.Stream
    def __init__(self, window: _Optional[int] = ..., stream: _Optional[_Union[_stream_service_pb2.Stream, _Mapping]] = ...) -> None: ...

class WatchStreamTaken(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ForgetStreamRequest(_message.Message):
    __slots__ = ("stream_id",)
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    def __init__(self, stream_id: _Optional[str] = ...) -> None: ...

class ForgetStreamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LearnRulesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class LearnRulesResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
