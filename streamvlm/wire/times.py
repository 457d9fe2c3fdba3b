"""Instants, intervals and gaps on the wire; and how enums travel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from streamvlm.errors import InvalidInputError
from streamvlm.types import ClockSource, Gap, Interval, StreamTime, UtcInterval
from streamvlm.wire.v1 import time_pb2 as pb

_Member = TypeVar("_Member", bound=StrEnum)


class _WireEnum(Protocol):
    """What protoc makes of an enum."""

    def items(self) -> Iterable[tuple[str, int]]: ...


_NANOS = 1_000_000_000
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""Of a timestamp: the years 1 to 9999."""


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
    if not _FIRST_SECOND <= message.seconds <= _LAST_SECOND:
        raise InvalidInputError(
            f"seconds = {message.seconds} of a timestamp; allowed: the years 1 to 9999"
        )
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
        clock=member_to_proto("CLOCK_SOURCE_", time.clock),
        clock_error=duration_to_proto(time.clock_error_seconds),
        pts_seconds=time.pts_seconds,
    )


def instant_from_proto(message: pb.Instant) -> StreamTime:
    """One instant."""
    with _as_input_errors():
        return StreamTime(
            pts_seconds=message.pts_seconds,
            utc_seconds=timestamp_from_proto(message.utc),
            clock=member_from_proto(ClockSource, pb.ClockSource, "CLOCK_SOURCE_", message.clock),
            clock_error_seconds=duration_from_proto(message.clock_error),
        )


def interval_to_proto(interval: Interval) -> pb.Interval:
    """A half-open stretch of a stream."""
    return pb.Interval(start=instant_to_proto(interval.start), end=instant_to_proto(interval.end))


def interval_from_proto(message: pb.Interval) -> Interval:
    """A half-open stretch of a stream."""
    start, end = instant_from_proto(message.start), instant_from_proto(message.end)
    with _as_input_errors():
        return Interval(start=start, end=end)


def utc_interval_to_proto(interval: UtcInterval) -> pb.UtcInterval:
    """A stretch of time; a side that is open, or beyond what a timestamp holds, is not set."""
    start, end = interval.start_seconds, interval.end_seconds
    return pb.UtcInterval(
        start=timestamp_to_proto(start) if start >= _FIRST_SECOND else None,
        end=timestamp_to_proto(end) if end <= _LAST_SECOND else None,
    )


def utc_interval_from_proto(message: pb.UtcInterval) -> UtcInterval:
    """A stretch of time. Raises InvalidInputError."""
    start = timestamp_from_proto(message.start) if message.HasField("start") else -math.inf
    end = timestamp_from_proto(message.end) if message.HasField("end") else math.inf
    return UtcInterval(start_seconds=start, end_seconds=end)


def gap_to_proto(gap: Gap) -> pb.Gap:
    """When a stream was blind."""
    return pb.Gap(interval=interval_to_proto(gap.interval), reason=gap.reason)


def gap_from_proto(message: pb.Gap) -> Gap:
    """When a stream was blind."""
    return Gap(interval=interval_from_proto(message.interval), reason=message.reason)


def member_to_proto(prefix: str, member: StrEnum) -> str:
    """The name on the wire of a member of our enum; UNKNOWN is UNSPECIFIED there."""
    return prefix + ("UNSPECIFIED" if member.name == "UNKNOWN" else member.name)


def member_from_proto(member: type[_Member], enum: _WireEnum, prefix: str, value: int) -> _Member:
    """The member of our enum for a wire value; UNKNOWN for values of a newer service.

    One new value must not cost an old client a whole listing.
    """
    names = {number: name.removeprefix(prefix) for name, number in enum.items()}
    name = names.get(value, "")
    return member[name] if name in member.__members__ else member["UNKNOWN"]


@contextmanager
def _as_input_errors() -> Iterator[None]:
    """What our types refuse came from the wire."""
    try:
        yield
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(str(error)) from error
