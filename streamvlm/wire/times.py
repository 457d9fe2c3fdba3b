"""Instants, intervals and gaps on the wire; and how enums travel."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from streamvlm.errors import InvalidInputError
from streamvlm.types import ClockSource, Gap, Interval, StreamTime
from streamvlm.wire.v1 import time_pb2 as pb

_Member = TypeVar("_Member", bound=StrEnum)

_NANOS = 1_000_000_000


def _split(seconds: float) -> tuple[int, int]:
    """Whole seconds, rounded down, and nanoseconds."""
    # Apart: seconds since 1970 times 1e9 would leave no digits for the last 256 ns.
    whole = math.floor(seconds)
    nanos = round((seconds - whole) * _NANOS)
    return (whole + 1, 0) if nanos == _NANOS else (whole, nanos)


def _join(seconds: int, nanos: int) -> float:
    # One division of integers is rounded once: what `_split` took apart comes back bit for bit.
    return (seconds * _NANOS + nanos) / _NANOS


def timestamp_to_proto(utc_seconds: float) -> Timestamp:
    """Seconds since 1970-01-01 UTC."""
    seconds, nanos = _split(utc_seconds)
    return Timestamp(seconds=seconds, nanos=nanos)


def timestamp_from_proto(message: Timestamp) -> float:
    """Seconds since 1970-01-01 UTC."""
    if not 0 <= message.nanos < _NANOS:
        raise InvalidInputError(f"nanos = {message.nanos} of a timestamp; allowed: 0 to 999999999")
    return _join(message.seconds, message.nanos)


def duration_to_proto(seconds: float) -> Duration:
    """A length of time >= 0."""
    whole, nanos = _split(seconds)
    return Duration(seconds=whole, nanos=nanos)


def duration_from_proto(message: Duration) -> float:
    """A length of time in seconds."""
    return _join(message.seconds, message.nanos)


def instant_to_proto(time: StreamTime) -> pb.Instant:
    """One instant."""
    return pb.Instant(
        utc=timestamp_to_proto(time.utc_seconds),
        clock=f"CLOCK_SOURCE_{time.clock.name}",
        clock_error=duration_to_proto(time.clock_error_seconds),
        pts_seconds=time.pts_seconds,
    )


def instant_from_proto(message: pb.Instant) -> StreamTime:
    """One instant."""
    return StreamTime(
        pts_seconds=message.pts_seconds,
        utc_seconds=timestamp_from_proto(message.utc),
        clock=member_from_proto(ClockSource, "CLOCK_SOURCE_", pb.ClockSource.Name(message.clock)),
        clock_error_seconds=duration_from_proto(message.clock_error),
    )


def interval_to_proto(interval: Interval) -> pb.Interval:
    """A half-open stretch of a stream."""
    return pb.Interval(start=instant_to_proto(interval.start), end=instant_to_proto(interval.end))


def interval_from_proto(message: pb.Interval) -> Interval:
    """A half-open stretch of a stream."""
    return Interval(start=instant_from_proto(message.start), end=instant_from_proto(message.end))


def gap_to_proto(gap: Gap) -> pb.Gap:
    """When a stream was blind."""
    return pb.Gap(interval=interval_to_proto(gap.interval), reason=gap.reason)


def gap_from_proto(message: pb.Gap) -> Gap:
    """When a stream was blind."""
    return Gap(interval=interval_from_proto(message.interval), reason=message.reason)


def member_from_proto(member: type[_Member], prefix: str, name: str) -> _Member:
    """The member of our enum for the name of a wire value: ours, behind the name of its type."""
    try:
        return member[name.removeprefix(prefix)]
    except KeyError:
        allowed = ", ".join(prefix + known.name for known in member)
        raise InvalidInputError(f"{name} is not allowed here; allowed: {allowed}") from None
