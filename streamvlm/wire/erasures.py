"""What is to be erased, and what was, on the wire."""

from __future__ import annotations

import math

from streamvlm.erasure import Erased
from streamvlm.errors import ErasureError
from streamvlm.types import UtcInterval
from streamvlm.wire.times import (
    interval_from_proto,
    interval_to_proto,
    utc_interval_from_proto,
    utc_interval_to_proto,
)
from streamvlm.wire.v1 import stream_service_pb2 as pb


def erasure_to_proto(stream_id: str, span: UtcInterval) -> pb.EraseStreamRequest:
    """Forget this of the stream. Raises ErasureError where it ends when no timestamp can be."""
    message = utc_interval_to_proto(span)
    if span.end_seconds < math.inf and not message.HasField("end"):
        raise ErasureError(
            f"what is to be erased must have happened: {span.end_seconds:.0f} (seconds UTC) is "
            "after the year 9999"
        )
    return pb.EraseStreamRequest(stream_id=stream_id, during=message)


def erasure_from_proto(message: pb.EraseStreamRequest) -> UtcInterval:
    """What is to be forgotten. Raises InvalidInputError, ErasureError."""
    if not message.HasField("during"):
        raise ErasureError("say what is to be erased: `during` is not set")
    return utc_interval_from_proto(message.during)


def erased_to_proto(erased: Erased) -> pb.EraseStreamResponse:
    """What was forgotten."""
    return pb.EraseStreamResponse(
        blocks=erased.num_blocks,
        clips=erased.num_clips,
        events=erased.num_events,
        intervals=map(interval_to_proto, erased.intervals),
    )


def erased_from_proto(message: pb.EraseStreamResponse) -> Erased:
    """What was forgotten."""
    return Erased(
        num_blocks=message.blocks,
        num_clips=message.clips,
        num_events=message.events,
        intervals=tuple(map(interval_from_proto, message.intervals)),
    )
