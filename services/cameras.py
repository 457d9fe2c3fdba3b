"""Which cameras are lost, and which are back: events too, one beginning and one end an outage."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace

from streamvlm.alerts import CameraChange, CameraState
from streamvlm.types import StreamStatus

_NAMESPACE = uuid.UUID("0c3c7c4e-4f0b-5e0e-8a4e-6d3b1a9f2c11")


class CameraWatch:
    """Tells what has changed since the last time."""

    def __init__(self, lost_seconds: float) -> None:
        self._lost_seconds = lost_seconds
        self._outages: dict[str, CameraChange] = {}

    def resume(self, outage: CameraChange) -> None:
        """Another process told of this, and it has not ended."""
        self._outages[outage.stream_id] = outage

    def changes(self, streams: Sequence[StreamStatus]) -> Iterator[CameraChange]:
        """What is to be told of these streams, which are all that this worker holds."""
        for status in streams:
            blind, outage = status.feed.blind, self._outages.get(status.stream_id)
            last = status.feed.last_frame
            is_back = blind is None and last is not None
            if outage is not None and is_back and last:
                del self._outages[status.stream_id]
                if last.pts_seconds >= outage.blind.start.pts_seconds:
                    outage = replace(outage, blind=outage.blind.until(last))
                yield replace(outage, state=CameraState.RECOVERED)
            elif (
                outage is None
                and blind is not None
                and blind.interval.duration_seconds >= self._lost_seconds
            ):
                identity = f"{status.stream_id}/{blind.interval.start.utc_seconds:.3f}"
                outage = CameraChange(
                    outage_id=str(uuid.uuid5(_NAMESPACE, identity)),
                    stream_id=status.stream_id,
                    state=CameraState.LOST,
                    blind=blind.interval,
                    reason=blind.reason,
                )
                self._outages[status.stream_id] = outage
                yield outage

    def forget(self, stream_id: str) -> None:
        """The stream is not watched any more."""
        self._outages.pop(stream_id, None)
