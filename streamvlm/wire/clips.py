"""Clips on the wire, between our own processes."""

from __future__ import annotations

import numpy as np

from streamvlm.errors import InvalidInputError
from streamvlm.types import Clip
from streamvlm.wire.times import (
    duration_from_proto,
    duration_to_proto,
    instant_from_proto,
    instant_to_proto,
)
from streamvlm.wire.v1 import worker_service_pb2 as pb


def clip_to_proto(clip: Clip) -> pb.Clip:
    """Some frames of one size."""
    return pb.Clip(
        clip_index=clip.clip_index,
        pixels=np.ascontiguousarray(clip.pixels).tobytes(),
        height=clip.pixels.shape[1],
        width=clip.pixels.shape[2],
        times=map(instant_to_proto, clip.times),
        frame_duration=duration_to_proto(clip.frame_seconds),
    )


def clip_from_proto(message: pb.Clip, stream_id: str) -> Clip:
    """Some frames of one size. Raises InvalidInputError."""
    shape = (len(message.times), message.height, message.width, 3)
    try:
        return Clip(
            stream_id=stream_id,
            clip_index=message.clip_index,
            pixels=np.frombuffer(message.pixels, dtype=np.uint8).reshape(shape),
            times=tuple(map(instant_from_proto, message.times)),
            frame_seconds=duration_from_proto(message.frame_duration),
        )
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(f"clip {message.clip_index}: {error}") from error
