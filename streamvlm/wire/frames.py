"""Pushed frames and their acknowledgements, on the wire and off it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from streamvlm.errors import FrameError, InvalidInputError
from streamvlm.wire.times import timestamp_from_proto, timestamp_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb

Encoding = Literal["jpeg", "png", "rgb24"]
_ENCODINGS: dict[pb.FrameEncoding, Encoding] = {
    pb.FRAME_ENCODING_JPEG: "jpeg",
    pb.FRAME_ENCODING_PNG: "png",
    pb.FRAME_ENCODING_RGB24: "rgb24",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedFrame:
    """One picture that a caller gives to a stream."""

    image: bytes
    encoding: Encoding = "jpeg"
    height: int | None = None
    """Pixels; needed for rgb24, as is `width`."""
    width: int | None = None
    utc_seconds: float | None = None
    """When it was taken, seconds since 1970-01-01 UTC; None is the moment of its arrival."""
    sequence: int = 0
    """Chosen by the caller, and named in the acknowledgement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAck:
    """What became of one pushed frame."""

    sequence: int
    """That of the frame."""
    is_sampled: bool
    """Whether the stream took it; the others are between two samples, or have an error."""
    frames_refused: int
    """Frames of this call that could not be used."""
    clips_dropped: int
    """Clips of the stream thrown away because the engine was late."""
    error: FrameError | None
    """Why this frame could not be used."""


def frame_to_proto(frame: PushedFrame) -> pb.PushedFrame:
    """One pushed picture. Raises FrameError for what does not fit the message."""
    encodings = {name: value for value, name in _ENCODINGS.items()}
    if frame.encoding not in encodings:
        raise FrameError(f"encoding {frame.encoding!r}; allowed: {', '.join(encodings)}")
    try:
        return pb.PushedFrame(
            sequence=frame.sequence,
            image=frame.image,
            encoding=encodings[frame.encoding],
            height=frame.height or 0,
            width=frame.width or 0,
            capture_time=None
            if frame.utc_seconds is None
            else timestamp_to_proto(frame.utc_seconds),
        )
    except (ValueError, OverflowError) as error:
        raise FrameError(f"a frame that cannot be sent: {error}") from error


def frame_from_proto(message: pb.PushedFrame) -> PushedFrame:
    """One pushed picture. Raises FrameError for what is no encoding and no time."""
    if message.encoding not in _ENCODINGS:
        raise FrameError(f"encoding {message.encoding} of a frame; allowed: JPEG, PNG, RGB24")
    try:
        utc_seconds = (
            timestamp_from_proto(message.capture_time) if message.HasField("capture_time") else None
        )
    except InvalidInputError as error:
        raise FrameError(str(error)) from error
    return PushedFrame(
        image=message.image,
        encoding=_ENCODINGS[message.encoding],
        height=message.height or None,
        width=message.width or None,
        utc_seconds=utc_seconds,
        sequence=message.sequence,
    )


def ack_to_proto(ack: PushAck) -> pb.PushFramesAck:
    """What became of one pushed frame."""
    error = None
    if ack.error is not None:
        error = pb.PushFramesError(reason=ack.error.reason, message=str(ack.error))
    return pb.PushFramesAck(
        sequence=ack.sequence,
        sampled=ack.is_sampled,
        frames_refused=ack.frames_refused,
        clips_dropped=ack.clips_dropped,
        error=error,
    )


def ack_from_proto(message: pb.PushFramesAck) -> PushAck:
    """What became of one pushed frame."""
    return PushAck(
        sequence=message.sequence,
        is_sampled=message.sampled,
        frames_refused=message.frames_refused,
        clips_dropped=message.clips_dropped,
        error=FrameError(message.error.message) if message.HasField("error") else None,
    )
