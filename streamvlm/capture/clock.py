"""Stream time for live sources: one axis that never runs backwards, over any number of connections.

Cameras count from an arbitrary start on each connection, jump when their clock is set, and may tell
UTC. The clock of this machine bridges what lies between two connections.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Self

from streamvlm.types import ClockSource, Interval, StreamTime

MAX_SKEW_SECONDS = 2.0
"""A camera clock further away than this from ours is believed, but marked."""
ARRIVAL_ERROR_SECONDS = 1.0
"""How late a picture may arrive: exposure, encoding, network and what is buffered at the start."""
# How far stream time may be from where arrivals put it: a short stumble of the network, or a few
# pictures at once, do not move it; a camera that counts too fast or too slowly does.
_LEEWAY_SECONDS = 1.0
_JUMP_SECONDS = 5.0
_BACKWARD_JUMP_SECONDS = 1.0
_STEP_SECONDS = 0.001
_DELAY_WINDOW_SECONDS = 30.0


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
    """The newest frame, or the end of a gap after it."""
    known_until: StreamTime
    """The end of the newest clip or gap."""
    reason: str
    """Why the stream is blind since then."""
    next_frame_index: int
    next_clip_index: int


def span(start: StreamTime, end: StreamTime) -> Interval:
    """The interval between two instants, of which the second may be told by another clock.

    Where UTC runs backwards between them, the clock of the start tells the end, too.
    """
    if end.utc_seconds < start.utc_seconds:
        end = start.later(end.pts_seconds - start.pts_seconds)
    return Interval(start=start, end=end)


class LeastDelay:
    """The delay of the least delayed picture among those of the last 30 to 60 s.

    It tells best how the camera's count lies to our clock. Older pictures do not count, so that a
    camera whose clock is slow does not seem to drift away.
    """

    def __init__(self) -> None:
        self._earlier_seconds = self._seconds = math.inf
        self._since_seconds = -math.inf

    def note(self, delay_seconds: float, monotonic_seconds: float) -> float:
        """Take a picture's delay; the least one in return."""
        if monotonic_seconds - self._since_seconds > _DELAY_WINDOW_SECONDS:
            self._earlier_seconds, self._seconds = self._seconds, math.inf
            self._since_seconds = monotonic_seconds
        self._seconds = min(self._seconds, delay_seconds)
        return min(self._earlier_seconds, self._seconds)


class StreamClock:
    """Maps the presentation times of successive connections to stream time.

    Stream time follows the camera's count, and is never more than a second ahead of the clock of
    this machine: a camera that counts too fast, or a server that sends what it has buffered, would
    else push it so far that later outages vanish. It lags a little more than a second at most.
    """

    def __init__(self, resume: Resume | None = None) -> None:
        self._began_seconds = resume.began_monotonic_seconds if resume else None
        self._last_pts_seconds = resume.last.pts_seconds if resume else None
        self.reconnect()

    def reconnect(self) -> None:
        """Forget the mapping of the connection that ended."""
        self._shift_seconds: float | None = None
        self._previous: tuple[float, float] | None = None
        self._least_delay = LeastDelay()
        self._camera_utc_at_zero: float | None = None
        self._camera_drift_seconds = 0.0

    def camera_says(self, source_pts_seconds: float, utc_seconds: float) -> None:
        """The camera took the picture with this presentation time at this UTC, by its own clock."""
        at_zero = utc_seconds - source_pts_seconds
        if self._camera_utc_at_zero is not None:
            step_seconds = abs(at_zero - self._camera_utc_at_zero)
            # Between two reports every picture says the same, but for rounding.
            if step_seconds > _STEP_SECONDS:
                is_drift = step_seconds <= MAX_SKEW_SECONDS  # more: its clock was set
                self._camera_drift_seconds = step_seconds if is_drift else 0.0
        self._camera_utc_at_zero = at_zero

    def at(self, source_pts_seconds: float, arrival: Instant) -> StreamTime:
        """When a picture was taken, given its presentation time and arrival. Ask for every picture.

        Times never fall behind those of earlier connections; inside one connection they follow the
        source, which may repeat a time or reorder a little.
        """
        if self._shift_seconds is None or self._has_jumped(source_pts_seconds, arrival):
            self._shift_seconds = self._start_seconds(arrival) - source_pts_seconds
            self._least_delay = LeastDelay()
        delay_seconds = self._least_delay.note(
            arrival.monotonic_seconds - source_pts_seconds, arrival.monotonic_seconds
        )
        self._previous = (source_pts_seconds, arrival.monotonic_seconds)
        pts_seconds = self._held_to_arrivals(
            source_pts_seconds + self._shift_seconds, source_pts_seconds + delay_seconds
        )
        self._shift_seconds = pts_seconds - source_pts_seconds
        self._last_pts_seconds = max(pts_seconds, self._last_pts_seconds or 0.0)
        utc_seconds, clock, error_seconds = self._utc(source_pts_seconds, delay_seconds, arrival)
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

    def _held_to_arrivals(self, pts_seconds: float, taken_monotonic_seconds: float) -> float:
        """Stream time, moved towards where arrivals put the picture if it is too far from there."""
        assert self._began_seconds is not None
        by_arrival_seconds = taken_monotonic_seconds - self._began_seconds
        if abs(pts_seconds - by_arrival_seconds) <= _LEEWAY_SECONDS:
            return pts_seconds
        held_seconds = max(pts_seconds, by_arrival_seconds - _LEEWAY_SECONDS)
        held_seconds = min(held_seconds, by_arrival_seconds + _LEEWAY_SECONDS)
        if self._last_pts_seconds is None:
            return held_seconds
        return max(held_seconds, self._last_pts_seconds + _STEP_SECONDS)

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

    def _utc(
        self, source_pts_seconds: float, delay_seconds: float, arrival: Instant
    ) -> tuple[float, ClockSource, float]:
        host_offset_seconds = arrival.utc_seconds - arrival.monotonic_seconds
        host_utc_seconds = source_pts_seconds + delay_seconds + host_offset_seconds
        if self._camera_utc_at_zero is None:
            return host_utc_seconds, ClockSource.ARRIVAL, ARRIVAL_ERROR_SECONDS
        utc_seconds = self._camera_utc_at_zero + source_pts_seconds
        skew_seconds = abs(utc_seconds - host_utc_seconds)
        is_skewed = skew_seconds > MAX_SKEW_SECONDS
        clock = ClockSource.RTCP_SR_SKEWED if is_skewed else ClockSource.RTCP_SR
        return utc_seconds, clock, max(skew_seconds, self._camera_drift_seconds)
