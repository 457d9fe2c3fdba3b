import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from streamvlm.wire.v1 import time_pb2 as _time_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FrameEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FRAME_ENCODING_UNSPECIFIED: _ClassVar[FrameEncoding]
    FRAME_ENCODING_JPEG: _ClassVar[FrameEncoding]
    FRAME_ENCODING_PNG: _ClassVar[FrameEncoding]
    FRAME_ENCODING_RGB24: _ClassVar[FrameEncoding]

class SourceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_STATE_UNSPECIFIED: _ClassVar[SourceState]
    SOURCE_STATE_CONNECTING: _ClassVar[SourceState]
    SOURCE_STATE_LIVE: _ClassVar[SourceState]
    SOURCE_STATE_RECONNECTING: _ClassVar[SourceState]
    SOURCE_STATE_ENDED: _ClassVar[SourceState]
    SOURCE_STATE_FAILED: _ClassVar[SourceState]
FRAME_ENCODING_UNSPECIFIED: FrameEncoding
FRAME_ENCODING_JPEG: FrameEncoding
FRAME_ENCODING_PNG: FrameEncoding
FRAME_ENCODING_RGB24: FrameEncoding
SOURCE_STATE_UNSPECIFIED: SourceState
SOURCE_STATE_CONNECTING: SourceState
SOURCE_STATE_LIVE: SourceState
SOURCE_STATE_RECONNECTING: SourceState
SOURCE_STATE_ENDED: SourceState
SOURCE_STATE_FAILED: SourceState

class CreateStreamRequest(_message.Message):
    __slots__ = ("stream_id", "source", "allow_offline", "request_id", "time_zone")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OFFLINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    source: str
    allow_offline: bool
    request_id: str
    time_zone: str
    def __init__(self, stream_id: _Optional[str] = ..., source: _Optional[str] = ..., allow_offline: _Optional[bool] = ..., request_id: _Optional[str] = ..., time_zone: _Optional[str] = ...) -> None: ...

class CreateStreamResponse(_message.Message):
    __slots__ = ("stream",)
    STREAM_FIELD_NUMBER: _ClassVar[int]
    stream: Stream
    def __init__(self, stream: _Optional[_Union[Stream, _Mapping]] = ...) -> None: ...

class GetStreamRequest(_message.Message):
    __slots__ = ("stream_id",)
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    def __init__(self, stream_id: _Optional[str] = ...) -> None: ...

class GetStreamResponse(_message.Message):
    __slots__ = ("stream",)
    STREAM_FIELD_NUMBER: _ClassVar[int]
    stream: Stream
    def __init__(self, stream: _Optional[_Union[Stream, _Mapping]] = ...) -> None: ...

class ListStreamsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListStreamsResponse(_message.Message):
    __slots__ = ("streams", "next_page_token")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[Stream]
    next_page_token: str
    def __init__(self, streams: _Optional[_Iterable[_Union[Stream, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteStreamRequest(_message.Message):
    __slots__ = ("stream_id", "request_id")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    request_id: str
    def __init__(self, stream_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteStreamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EraseStreamRequest(_message.Message):
    __slots__ = ("stream_id", "during")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    DURING_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    during: _time_pb2.UtcInterval
    def __init__(self, stream_id: _Optional[str] = ..., during: _Optional[_Union[_time_pb2.UtcInterval, _Mapping]] = ...) -> None: ...

class EraseStreamResponse(_message.Message):
    __slots__ = ("blocks", "clips", "events", "intervals")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CLIPS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    INTERVALS_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    clips: int
    events: int
    intervals: _containers.RepeatedCompositeFieldContainer[_time_pb2.Interval]
    def __init__(self, blocks: _Optional[int] = ..., clips: _Optional[int] = ..., events: _Optional[int] = ..., intervals: _Optional[_Iterable[_Union[_time_pb2.Interval, _Mapping]]] = ...) -> None: ...

class PushFramesRequest(_message.Message):
    __slots__ = ("open", "frame")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    open: PushFramesOpen
    frame: PushedFrame
    def __init__(self, open: _Optional[_Union[PushFramesOpen, _Mapping]] = ..., frame: _Optional[_Union[PushedFrame, _Mapping]] = ...) -> None: ...

class PushFramesOpen(_message.Message):
    __slots__ = ("stream_id",)
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    def __init__(self, stream_id: _Optional[str] = ...) -> None: ...

class PushedFrame(_message.Message):
    __slots__ = ("sequence", "image", "encoding", "height", "width", "capture_time")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    image: bytes
    encoding: FrameEncoding
    height: int
    width: int
    capture_time: _timestamp_pb2.Timestamp
    def __init__(self, sequence: _Optional[int] = ..., image: _Optional[bytes] = ..., encoding: _Optional[_Union[FrameEncoding, str]] = ..., height: _Optional[int] = ..., width: _Optional[int] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PushFramesResponse(_message.Message):
    __slots__ = ("opened", "ack")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    opened: PushFramesOpened
    ack: PushFramesAck
    def __init__(self, opened: _Optional[_Union[PushFramesOpened, _Mapping]] = ..., ack: _Optional[_Union[PushFramesAck, _Mapping]] = ...) -> None: ...

class PushFramesOpened(_message.Message):
    __slots__ = ("window_frames",)
    WINDOW_FRAMES_FIELD_NUMBER: _ClassVar[int]
    window_frames: int
    def __init__(self, window_frames: _Optional[int] = ...) -> None: ...

class PushFramesAck(_message.Message):
    __slots__ = ("sequence", "sampled", "frames_refused", "clips_dropped", "error")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_REFUSED_FIELD_NUMBER: _ClassVar[int]
    CLIPS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    sampled: bool
    frames_refused: int
    clips_dropped: int
    error: PushFramesError
    def __init__(self, sequence: _Optional[int] = ..., sampled: _Optional[bool] = ..., frames_refused: _Optional[int] = ..., clips_dropped: _Optional[int] = ..., error: _Optional[_Union[PushFramesError, _Mapping]] = ...) -> None: ...

class PushFramesError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Stream(_message.Message):
    __slots__ = ("stream_id", "source", "create_time", "feed", "memory", "time_zone")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    TIME_ZONE_FIELD_NUMBER: _ClassVar[int]
    stream_id: str
    source: str
    create_time: _timestamp_pb2.Timestamp
    feed: FeedStatus
    memory: MemoryStatus
    time_zone: str
    def __init__(self, stream_id: _Optional[str] = ..., source: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., feed: _Optional[_Union[FeedStatus, _Mapping]] = ..., memory: _Optional[_Union[MemoryStatus, _Mapping]] = ..., time_zone: _Optional[str] = ...) -> None: ...

class FeedStatus(_message.Message):
    __slots__ = ("state", "reason", "message", "frames_decoded", "frames_sampled", "clips_dropped", "reconnects", "gaps_total", "gap_duration", "clips_waiting", "last_frame", "blind")
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_DECODED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_SAMPLED_FIELD_NUMBER: _ClassVar[int]
    CLIPS_DROPPED_FIELD_NUMBER: _ClassVar[int]
    RECONNECTS_FIELD_NUMBER: _ClassVar[int]
    GAPS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    GAP_DURATION_FIELD_NUMBER: _ClassVar[int]
    CLIPS_WAITING_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    BLIND_FIELD_NUMBER: _ClassVar[int]
    state: SourceState
    reason: str
    message: str
    frames_decoded: int
    frames_sampled: int
    clips_dropped: int
    reconnects: int
    gaps_total: int
    gap_duration: _duration_pb2.Duration
    clips_waiting: int
    last_frame: _time_pb2.Instant
    blind: _time_pb2.Gap
    def __init__(self, state: _Optional[_Union[SourceState, str]] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., frames_decoded: _Optional[int] = ..., frames_sampled: _Optional[int] = ..., clips_dropped: _Optional[int] = ..., reconnects: _Optional[int] = ..., gaps_total: _Optional[int] = ..., gap_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., clips_waiting: _Optional[int] = ..., last_frame: _Optional[_Union[_time_pb2.Instant, _Mapping]] = ..., blind: _Optional[_Union[_time_pb2.Gap, _Mapping]] = ...) -> None: ...

class TierStatus(_message.Message):
    __slots__ = ("tier", "form", "blocks", "num_bytes", "num_tokens")
    TIER_FIELD_NUMBER: _ClassVar[int]
    FORM_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    NUM_BYTES_FIELD_NUMBER: _ClassVar[int]
    NUM_TOKENS_FIELD_NUMBER: _ClassVar[int]
    tier: str
    form: str
    blocks: int
    num_bytes: int
    num_tokens: int
    def __init__(self, tier: _Optional[str] = ..., form: _Optional[str] = ..., blocks: _Optional[int] = ..., num_bytes: _Optional[int] = ..., num_tokens: _Optional[int] = ...) -> None: ...

class MemoryStatus(_message.Message):
    __slots__ = ("blocks", "kv_bytes", "budget_bytes", "evicted_blocks", "clips_encoded", "clips_unchanged", "tokens_seen", "tokens_kept", "fresh_clips", "remembered", "gaps", "reduction_bytes", "tiers", "lost_blocks")
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    KV_BYTES_FIELD_NUMBER: _ClassVar[int]
    BUDGET_BYTES_FIELD_NUMBER: _ClassVar[int]
    EVICTED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CLIPS_ENCODED_FIELD_NUMBER: _ClassVar[int]
    CLIPS_UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_SEEN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_KEPT_FIELD_NUMBER: _ClassVar[int]
    FRESH_CLIPS_FIELD_NUMBER: _ClassVar[int]
    REMEMBERED_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_BYTES_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    LOST_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    blocks: int
    kv_bytes: int
    budget_bytes: int
    evicted_blocks: int
    clips_encoded: int
    clips_unchanged: int
    tokens_seen: int
    tokens_kept: int
    fresh_clips: int
    remembered: _time_pb2.Interval
    gaps: _containers.RepeatedCompositeFieldContainer[_time_pb2.Gap]
    reduction_bytes: int
    tiers: _containers.RepeatedCompositeFieldContainer[TierStatus]
    lost_blocks: int
    def __init__(self, blocks: _Optional[int] = ..., kv_bytes: _Optional[int] = ..., budget_bytes: _Optional[int] = ..., evicted_blocks: _Optional[int] = ..., clips_encoded: _Optional[int] = ..., clips_unchanged: _Optional[int] = ..., tokens_seen: _Optional[int] = ..., tokens_kept: _Optional[int] = ..., fresh_clips: _Optional[int] = ..., remembered: _Optional[_Union[_time_pb2.Interval, _Mapping]] = ..., gaps: _Optional[_Iterable[_Union[_time_pb2.Gap, _Mapping]]] = ..., reduction_bytes: _Optional[int] = ..., tiers: _Optional[_Iterable[_Union[TierStatus, _Mapping]]] = ..., lost_blocks: _Optional[int] = ...) -> None: ...
