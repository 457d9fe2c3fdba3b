"""Stream time for live sources: one axis that never runs backwards, over any number of connections.

Cameras count from an arbitrary start on each connection, jump when their clock is set, and may tell
UTC. The clock of this machine bridges what lies between two connections.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from streamvlm.types import ClockSource, StreamTime

MAX_SKEW_SECONDS = 2.0
"""A camera clock further away than this from ours is believed, but marked."""
ARRIVAL_ERROR_SECONDS = 1.0
"""How late a picture may arrive: exposure, encoding, network and what is buffered at the start."""
_JUMP_SECONDS = 5.0
_BACKWARD_JUMP_SECONDS = 1.0
_STEP_SECONDS = 0.001
_DRIFT = 1e-4


@dataclass(frozen=True, slots=True)
class Instant:
    """Now, by both clocks of this machine."""

    monotonic_seconds: float
    utc_seconds: float

    @classmethod
    def now(cls) -> Self:
        """Read both clocks."""
        return cls(time.monotonic(), time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where a stream stands, for a source that takes it over on the same machine."""

    began_monotonic_seconds: float
    """The monotonic clock at stream time 0."""
    last: StreamTime
    """The newest frame."""
    reason: str
    """Why the stream is blind since then."""
    next_frame_index: int
    next_clip_index: int


class StreamClock:
    """Maps the presentation times of successive connections to stream time."""

    def __init__(self, resume: Resume | None = None) -> None:
        self._began_seconds = resume.began_monotonic_seconds if resume else None
        self._last_pts_seconds = resume.last.pts_seconds if resume else None
        self.reconnect()

    def reconnect(self) -> None:
        """Forget the mapping of the connection that ended."""
        self._shift_seconds: float | None = None
        self._previous: tuple[float, float] | None = None
        self._delay_seconds: float | None = None
        self._camera_utc_at_zero: float | None = None

    def camera_says(self, source_pts_seconds: float, utc_seconds: float) -> None:
        """The camera took the picture with this presentation time at this UTC, by its own clock."""
        self._camera_utc_at_zero = utc_seconds - source_pts_seconds

    def at(self, source_pts_seconds: float, arrival: Instant) -> StreamTime:
        """When a picture was taken, given its presentation time and arrival. Ask for every picture.

        Times never fall behind those of earlier connections; inside one connection they follow the
        source, which may repeat a time or reorder a little.
        """
        if self._shift_seconds is None or self._has_jumped(source_pts_seconds, arrival):
            self._shift_seconds = self._start_seconds(arrival) - source_pts_seconds
            self._delay_seconds = None
        self._note_delay(source_pts_seconds, arrival)
        self._previous = (source_pts_seconds, arrival.monotonic_seconds)
        pts_seconds = source_pts_seconds + self._shift_seconds
        self._last_pts_seconds = max(pts_seconds, self._last_pts_seconds or 0.0)
        utc_seconds, clock, error_seconds = self._utc(source_pts_seconds, arrival)
        return StreamTime(
            pts_seconds=pts_seconds,
            utc_seconds=utc_seconds,
            clock=clock,
            clock_error_seconds=error_seconds,
        )

    def _start_seconds(self, arrival: Instant) -> float:
        """Stream time for the first picture of a connection."""
        if self._began_seconds is None:
            self._began_seconds = arrival.monotonic_seconds
        elapsed_seconds = arrival.monotonic_seconds - self._began_seconds
        if self._last_pts_seconds is None:
            return elapsed_seconds
        return max(elapsed_seconds, self._last_pts_seconds + _STEP_SECONDS)

    def _has_jumped(self, source_pts_seconds: float, arrival: Instant) -> bool:
        """Whether the camera's count left the course of time: its clock was set, or it restarted.

        Pictures that come late and then all at once (a slow network) are no jump.
        """
        if self._previous is None:
            return False
        step_seconds = source_pts_seconds - self._previous[0]
        waited_seconds = arrival.monotonic_seconds - self._previous[1]
        return (
            step_seconds < -_BACKWARD_JUMP_SECONDS or step_seconds > waited_seconds + _JUMP_SECONDS
        )

    def _note_delay(self, source_pts_seconds: float, arrival: Instant) -> None:
        """Remember the least delayed picture: it tells best how the two clocks lie to each other.

        The least delay creeps up, so that a camera whose clock is slow by up to 100 ppm does not
        seem to drift away from ours.
        """
        delay_seconds = arrival.monotonic_seconds - source_pts_seconds
        if self._delay_seconds is not None and self._previous is not None:
            waited_seconds = arrival.monotonic_seconds - self._previous[1]
            delay_seconds = min(delay_seconds, self._delay_seconds + _DRIFT * waited_seconds)
        self._delay_seconds = delay_seconds

    def _utc(self, source_pts_seconds: float, arrival: Instant) -> tuple[float, ClockSource, float]:
        assert self._delay_seconds is not None
        host_offset_seconds = arrival.utc_seconds - arrival.monotonic_seconds
        host_utc_seconds = source_pts_seconds + self._delay_seconds + host_offset_seconds
        if self._camera_utc_at_zero is None:
            return host_utc_seconds, ClockSource.ARRIVAL, ARRIVAL_ERROR_SECONDS
        utc_seconds = self._camera_utc_at_zero + source_pts_seconds
        skew_seconds = abs(utc_seconds - host_utc_seconds)
        is_skewed = skew_seconds > MAX_SKEW_SECONDS
        clock = ClockSource.RTCP_SR_SKEWED if is_skewed else ClockSource.RTCP_SR
        return utc_seconds, clock, skew_seconds
