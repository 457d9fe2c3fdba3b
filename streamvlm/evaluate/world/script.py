"""What happens in front of a synthetic camera: who comes, where it goes, what the camera suffers.

A script is data, made from a seed and the same for the same seed; `render` shows it and `truth`
says what was to be seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

import numpy as np

from streamvlm.evaluate.world.things import COLORS, DIRECTIONS, KINDS, SIZES, Kind, Thing

TroubleName = Literal["cut", "black", "frozen"]
"""What a camera suffers: it looks elsewhere from now on, shows nothing, or repeats a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How busy a scene is. All times in seconds."""

    between: float = 4.0
    """Mean time between two arrivals."""
    stay: tuple[float, float] = (2.0, 14.0)
    """How long something rests at a place."""
    speed: tuple[float, float] = (0.12, 0.28)
    """Pictures' sides a second."""
    most: int = 4
    """Things in view at a time."""
    return_share: float = 0.25
    """How often something that was there before comes again."""
    quiet_share: float = 0.08
    """How often a quiet stretch follows an arrival."""
    quiet: tuple[float, float] = (20.0, 120.0)
    trouble_every: float = 120.0
    """Mean time between two troubles of the camera; 0 for a camera that has none."""


def draw_pace(rng: np.random.Generator) -> Pace:
    """How busy a scene is: from quiet to crowded, with a sound camera or a bad one."""
    return Pace(
        between=float(rng.uniform(1.5, 8.0)),
        most=int(rng.integers(2, 6)),
        return_share=float(rng.choice([0.1, 0.5])),
        trouble_every=float(rng.choice([0.0, 60.0])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A thing slowly takes another colour; no seed draws it, and `truth` tells the first colour."""

    color: str
    """What it becomes, a key of `COLORS`."""
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dawn:
    """The light rises evenly to what it is without; no seed draws it."""

    first: float
    """How much of that light there is until `start`."""
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One thing's way through the picture, from edge to edge."""

    thing: Thing
    times: tuple[float, ...]
    """Seconds at which it passes the points; between them it moves evenly."""
    points: tuple[tuple[float, float], ...]
    """Its centre (x, y) in shares of the picture; the first and the last lie outside."""
    turn: Turn | None = None

    def at(self, seconds: float) -> tuple[float, float] | None:
        """Its centre, or None before and after."""
        if not self.times[0] <= seconds < self.times[-1]:
            return None
        xs, ys = zip(*self.points, strict=True)
        return (
            float(np.interp(seconds, self.times, xs)),
            float(np.interp(seconds, self.times, ys)),
        )

    def color(self, seconds: float) -> tuple[int, int, int]:
        """Its colour in sRGB; while it turns, mixed evenly of the two."""
        own = COLORS[self.thing.kind.color]
        if self.turn is None:
            return own
        share = np.interp(seconds, (self.turn.start, self.turn.end), (0.0, 1.0))
        red, green, blue = (
            round(float(one + share * (other - one)))
            for one, other in zip(own, COLORS[self.turn.color], strict=True)
        )
        return red, green, blue


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A trouble of the camera; a cut has no length, since what follows is the new view."""

    name: TroubleName
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A scene of a given length."""

    seed: int
    seconds: float
    visits: tuple[Visit, ...]
    """By the time at which they begin; a later one passes in front of an earlier one."""
    troubles: tuple[Trouble, ...] = field(default=())
    dawn: Dawn | None = None

    def shown_at(self, seconds: float) -> float:
        """The moment that the picture shows, which is an earlier one while it is frozen."""
        for trouble in self.troubles:
            if trouble.name == "frozen" and trouble.start <= seconds < trouble.end:
                return trouble.start
        return seconds

    def light(self, seconds: float) -> float:
        """How much of its usual light the scene has."""
        if self.dawn is None:
            return 1.0
        edges = (self.dawn.start, self.dawn.end)
        return float(np.interp(seconds, edges, (self.dawn.first, 1.0)))

    def is_black(self, seconds: float) -> bool:
        """Whether the camera shows nothing."""
        return any(
            each.name == "black" and each.start <= seconds < each.end for each in self.troubles
        )

    def view(self, seconds: float) -> int:
        """Which way the camera looks: the number of cuts so far."""
        return sum(each.name == "cut" and each.start <= seconds for each in self.troubles)


def write(seed: int, seconds: float, pace: Pace = Pace()) -> Script:
    """The script of this seed, of any length: a longer one begins with the shorter one."""
    return Script(
        seed=seed,
        seconds=seconds,
        visits=tuple(takewhile(lambda each: each.times[0] < seconds, visits(seed, pace))),
        troubles=tuple(takewhile(lambda each: each.start < seconds, troubles(seed, pace))),
    )


def visits(seed: int, pace: Pace) -> Iterator[Visit]:
    """Visits without end, by the time at which they begin."""
    rng = np.random.default_rng((seed, 1))
    now, in_view, known = float(rng.uniform(0.0, pace.between)), list[Visit](), list[Thing]()
    while True:
        in_view = [each for each in in_view if each.times[-1] + 2.0 > now]
        if len(in_view) >= pace.most:
            now = min(each.times[-1] for each in in_view) + 2.0
            continue
        visit = _visit(rng, now, pace, _thing(rng, pace, in_view, known), in_view)
        in_view.append(visit)
        known = [visit.thing, *(each for each in known if each.kind != visit.thing.kind)][:6]
        yield visit
        now += float(rng.exponential(pace.between)) + 0.5
        if rng.random() < pace.quiet_share:
            now = max(each.times[-1] for each in in_view) + float(rng.uniform(*pace.quiet))


def troubles(seed: int, pace: Pace) -> Iterator[Trouble]:
    """Troubles without end, one after the other."""
    if not pace.trouble_every:
        return
    rng = np.random.default_rng((seed, 2))
    now = 0.0
    while True:
        now += 5.0 + float(rng.exponential(pace.trouble_every))
        name: TroubleName = ("cut", "black", "frozen")[rng.integers(3)]
        end = now + (0.0 if name == "cut" else float(rng.uniform(2.0, 6.0)))
        yield Trouble(name=name, start=now, end=end)
        now = end


def _thing(rng: np.random.Generator, pace: Pace, in_view: list[Visit], known: list[Thing]) -> Thing:
    taken = {each.thing.kind for each in in_view}
    back = [each for each in known if each.kind not in taken]
    if back and rng.random() < pace.return_share:
        return back[rng.integers(len(back))]
    free = [kind for kind in KINDS if kind not in taken]
    return draw_thing(rng, free[rng.integers(len(free))])


def draw_thing(rng: np.random.Generator, kind: Kind) -> Thing:
    """A thing of this kind with a size, and often with a number if it is large."""
    size = "large" if rng.random() < 0.6 else "small"
    plate = ""
    if size == "large" and rng.random() < 0.6:
        plate = str(rng.integers(10, 100) if rng.random() < 0.5 else rng.integers(100, 1000))
    return Thing(kind=kind, size=size, radius=float(rng.uniform(*SIZES[size])), plate=plate)


def _visit(
    rng: np.random.Generator, start: float, pace: Pace, thing: Thing, in_view: list[Visit]
) -> Visit:
    """In from an edge, one or two places to rest at, out over an edge; always along an axis."""
    speed = float(rng.uniform(*pace.speed))
    outside = thing.radius + 0.01
    place = _free_place(rng, thing, in_view)
    points = [_beyond_edge(rng, place, outside), place]
    if rng.random() < 0.35:
        axis = int(rng.integers(2))
        other = _free_place(rng, thing, in_view)
        points.append((other[0], place[1]) if axis == 0 else (place[0], other[1]))
    points.append(_beyond_edge(rng, points[-1], outside))
    times, passed = [start], [points[0]]
    for number, point in enumerate(points[1:], start=1):
        gone = abs(point[0] - passed[-1][0]) + abs(point[1] - passed[-1][1])
        times.append(times[-1] + max(gone / speed, 0.01))
        passed.append(point)
        if number < len(points) - 1:
            times.append(times[-1] + float(rng.uniform(*pace.stay)))
            passed.append(point)
    return Visit(thing=thing, times=tuple(times), points=tuple(passed))


def _free_place(
    rng: np.random.Generator, thing: Thing, in_view: list[Visit]
) -> tuple[float, float]:
    """A place to rest at, away from where the others rest if one is found soon."""
    place = (0.5, 0.5)
    for _ in range(12):
        low, high = thing.radius + 0.01, 1 - thing.radius - 0.01
        place = (float(rng.uniform(low, high)), float(rng.uniform(low, high)))
        apart = [
            max(abs(place[0] - x), abs(place[1] - y)) > thing.radius + each.thing.radius
            for each in in_view
            for x, y in each.points[1:-1]
        ]
        if all(apart):
            break
    return place


def _beyond_edge(
    rng: np.random.Generator, place: tuple[float, float], outside: float
) -> tuple[float, float]:
    step_x, step_y = list(DIRECTIONS.values())[rng.integers(4)]
    if step_x:
        return (1 + outside if step_x > 0 else -outside), place[1]
    return place[0], (1 + outside if step_y > 0 else -outside)
