"""What was to be seen, clip by clip: the truth that questions are asked about.

A thing is in view while most of it is inside the picture; what is half out of view or half hidden
is neither there nor away, and questions avoid such moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamvlm.evaluate.world.script import Script, Visit
from streamvlm.evaluate.world.things import Thing, zone

_IN_VIEW = 0.75
"""Share of a thing that must be visible for it to be there."""
_AWAY = 0.02
_STILL = 0.004
_MOVING = 0.02
"""Shares of the picture that a thing moves within a clip to be at rest or on its way."""
_PLATE_REACH = (1.05, 0.65)
"""Half a plate's width and height, in radii, and a little."""
_ZONE_MARGIN = 0.03
"""A thing this close to the border between two zones is in neither for sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A thing in a clip."""

    thing: Thing
    visit: int
    """Which visit of the script this is."""
    place: tuple[float, float]
    """Its centre (x, y) in shares of the picture, at the end of the clip."""
    zone: str | None
    """None on the border of two."""
    moving: str | None
    """A direction, "still", or None between the two."""
    visible: float
    """Share of it that is inside the picture and not hidden."""
    is_plate_whole: bool
    """Whether all of its number shows, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one clip shows."""

    seconds: float
    """Its time as a clip's: the mean of its frames' times."""
    taken_seconds: float
    """When its last frame was taken."""
    sights: tuple[Sight, ...]
    """Everything of which a part shows, the farthest first."""
    is_black: bool
    something_left: bool = False
    """Whether its first frame shows a part of something that its last frame does not show."""

    @property
    def present(self) -> tuple[Sight, ...]:
        """The things that are there."""
        return tuple(each for each in self.sights if each.visible >= _IN_VIEW)

    @property
    def is_clear(self) -> bool:
        """Whether everything is either there or away."""
        is_steady = not self.is_black and not self.something_left
        return is_steady and all(
            each.visible >= _IN_VIEW or each.visible <= _AWAY for each in self.sights
        )


def look(script: Script, seconds: float, *, frame_seconds: float = 0.5) -> Look:
    """The truth of the clip whose frames are taken at `seconds` and `frame_seconds` later."""
    taken_seconds = seconds + frame_seconds
    before, after = script.shown_at(seconds), script.shown_at(taken_seconds)
    was_visible, visible = _visible_shares(script, before), _visible_shares(script, after)
    plates = _whole_plates(script, after)
    is_black = script.is_black(seconds) or script.is_black(taken_seconds)
    sights = [
        _sight(number, script.visits[number], before, after, share, number in plates)
        for number, share in visible.items()
    ]
    return Look(
        seconds=seconds + frame_seconds / 2,
        taken_seconds=taken_seconds,
        sights=() if is_black else tuple(sights),
        is_black=is_black,
        something_left=any(
            share > _AWAY and visible.get(number, 0.0) <= _AWAY
            for number, share in was_visible.items()
        ),
    )


def looks(script: Script, times: Sequence[float], *, frame_seconds: float = 0.5) -> list[Look]:
    """The truth of many clips, by the time of their first frames."""
    return [look(script, each, frame_seconds=frame_seconds) for each in times]


def _visible_shares(script: Script, seconds: float) -> dict[int, float]:
    """How much shows of each visit that is on then, by its number; the farthest first."""
    on = _on(script, seconds)
    return {
        number: _visible(visit, seconds, [other for _, other in on[depth + 1 :]])
        for depth, (number, visit) in enumerate(on)
    }


def _whole_plates(script: Script, seconds: float) -> set[int]:
    """The visits whose numbers are inside the picture and behind nothing then."""
    on = _on(script, seconds)
    whole = set[int]()
    for depth, (number, visit) in enumerate(on):
        plate = _box(visit, seconds, _PLATE_REACH)
        in_front = [_box(other, seconds, (1.05, 1.0)) for _, other in on[depth + 1 :]]
        is_inside = min(plate[:2]) >= 0.0 and max(plate[2:]) <= 1.0
        if is_inside and not any(_overlap(plate, other) for other in in_front):
            whole.add(number)
    return whole


def _on(script: Script, seconds: float) -> list[tuple[int, Visit]]:
    """Every visit that is on then, with its number; the farthest first."""
    return [(number, visit) for number, visit in enumerate(script.visits) if visit.at(seconds)]


def _sight(
    number: int, visit: Visit, before: float, after: float, visible: float, is_plate_whole: bool
) -> Sight:
    place, earlier = visit.at(after), visit.at(before)
    assert place is not None
    return Sight(
        thing=visit.thing,
        visit=number,
        place=place,
        zone=_clear_zone(place),
        moving=_direction(earlier, place),
        visible=visible,
        is_plate_whole=is_plate_whole,
    )


def _visible(visit: Visit, seconds: float, in_front: Sequence[Visit]) -> float:
    """Share of the thing's box inside the picture, less the largest share that another covers."""
    box = _box(visit, seconds)
    inside = _overlap(box, (0.0, 0.0, 1.0, 1.0))
    hidden = max((_overlap(box, _box(other, seconds)) for other in in_front), default=0.0)
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(0.0, inside - hidden) / area


def _box(
    visit: Visit, seconds: float, reach: tuple[float, float] = (0.9, 0.9)
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what lies so many radii around a thing's centre."""
    place = visit.at(seconds)
    assert place is not None
    across, down = (visit.thing.radius * each for each in reach)
    return place[0] - across, place[1] - down, place[0] + across, place[1] + down


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _clear_zone(place: tuple[float, float]) -> str | None:
    nearest = min(abs(each - border) for each in place for border in (1 / 3, 2 / 3))
    return zone(*place) if nearest > _ZONE_MARGIN else None


def _direction(before: tuple[float, float] | None, after: tuple[float, float]) -> str | None:
    if before is None:
        return None
    right, down = after[0] - before[0], after[1] - before[1]
    gone = max(abs(right), abs(down))
    if gone < _STILL:
        return "still"
    if gone < _MOVING:
        return None
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "down" if down > 0 else "up"
