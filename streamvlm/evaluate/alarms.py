"""How alerts compare with what really happened: hits, false alarms, repeats, delays.

Published measures stop at the first alarm and know no hours in which nothing happens; these count
false alarms an hour and alarms an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from streamvlm.evaluate.world.things import Kind
from streamvlm.evaluate.world.truth import Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that should be told: stream seconds from its beginning to its end."""

    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Alarms against events."""

    events: int
    hits: int
    """Events that were told."""
    alarms: int
    false_alarms: int
    """Alarms that belong to no event."""
    hours: float
    delays: tuple[float, ...]
    """Seconds from the beginning of each hit event to its first alarm."""
    looks: int

    @property
    def recall(self) -> float | None:
        """Share of the events that were told; None without events."""
        return self.hits / self.events if self.events else None

    @property
    def alarms_an_event(self) -> float | None:
        """Of the events that were told."""
        return (self.alarms - self.false_alarms) / self.hits if self.hits else None

    @property
    def false_alarms_an_hour(self) -> float:
        """Over all that was watched."""
        return self.false_alarms / self.hours

    @property
    def looks_an_hour(self) -> float:
        """What it cost."""
        return self.looks / self.hours

    @property
    def delay_seconds(self) -> tuple[float, float] | None:
        """Median and 95 % quantile; None without hits."""
        if not self.delays:
            return None
        if len(self.delays) == 1:
            return self.delays[0], self.delays[0]
        return median(self.delays), quantiles(self.delays, n=20, method="inclusive")[-1]

    def __add__(self, other: Score) -> Score:
        return Score(
            events=self.events + other.events,
            hits=self.hits + other.hits,
            alarms=self.alarms + other.alarms,
            false_alarms=self.false_alarms + other.false_alarms,
            hours=self.hours + other.hours,
            delays=self.delays + other.delays,
            looks=self.looks + other.looks,
        )


def score(
    events: Sequence[Event],
    alarms: Sequence[float],
    *,
    seconds: float,
    looks: int,
    slack_seconds: float = 5.0,
) -> Score:
    """Alarms by stream second against events that do not overlap.

    An alarm belongs to the event during which it was given, or up to `slack_seconds` behind its
    end: one who looks and thinks is late.
    """
    delays, belonging = list[float](), 0
    for event in events:
        own = [each for each in alarms if event.start <= each <= event.end + slack_seconds]
        belonging += len(own)
        if own:
            delays.append(min(own) - event.start)
    return Score(
        events=len(events),
        hits=len(delays),
        alarms=len(alarms),
        false_alarms=max(0, len(alarms) - belonging),
        hours=seconds / 3600,
        delays=tuple(delays),
        looks=looks,
    )


def events_of(
    looks: Sequence[Look], kind: Kind, *, least_seconds: float = 3.0, pause_seconds: float = 10.0
) -> list[Event]:
    """When this kind of thing was there for at least so long, from looks one after the other.

    It begins with the first look that shows a part of it and ends with the last one; what comes
    back within `pause_seconds` was never gone.
    """
    found: list[Event] = []
    for look in looks:
        if not any(sight.thing.kind == kind for sight in look.sights):
            continue
        if found and look.seconds - found[-1].end <= pause_seconds:
            found[-1] = Event(start=found[-1].start, end=look.taken_seconds)
        else:
            found.append(Event(start=look.seconds, end=look.taken_seconds))
    return [event for event in found if event.end - event.start >= least_seconds]
