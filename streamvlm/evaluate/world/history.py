"""What a run of looks amounts to: who came when, and how often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from streamvlm.evaluate.world.things import Kind, Thing
from streamvlm.evaluate.world.truth import Look, Sight


@dataclass(frozen=True, slots=True)
class Stay:
    """A thing's stay as the looks show it: indices of the first and the last look with it."""

    thing: Thing
    first: int
    last: int
    was_plate_whole: bool
    """Whether all of its number showed in one of them."""


class History:
    """What was shown until now, oldest first."""

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks = looks
        self.now = looks[-1]
        spans: dict[int, tuple[Sight, int, int]] = {}
        read = set[int]()
        glimpsed = set[Kind]()
        for index, look in enumerate(looks):
            glimpsed |= {sight.thing.kind for sight in look.sights}
            for sight in look.present:
                if sight.is_plate_whole:
                    read.add(sight.visit)
                first = spans[sight.visit][1] if sight.visit in spans else index
                spans[sight.visit] = sight, first, index
        self.stays = [
            Stay(sight.thing, first, last, sight.visit in read)
            for sight, first, last in sorted(spans.values(), key=lambda span: span[1])
        ]
        self.glimpsed = glimpsed
        """Kinds of which at least a part was shown."""
        self.of_kind: dict[Kind, list[Stay]] = defaultdict(list)
        for stay in self.stays:
            self.of_kind[stay.thing.kind].append(stay)

    @property
    def single_stays(self) -> list[Stay]:
        """Stays of things that came once, later than the first look."""
        return [
            stays[0] for stays in self.of_kind.values() if len(stays) == 1 and stays[0].first > 0
        ]

    def seconds(self, index: int) -> float:
        """When a look was."""
        return self.looks[index].seconds

    def is_apart(self, index: int) -> bool:
        """Whether a stay began two looks or more after the one before it, and before the next."""
        firsts = [stay.first for stay in self.stays]
        after_previous = index == 0 or firsts[index] - firsts[index - 1] >= 2
        before_next = index + 1 == len(firsts) or firsts[index + 1] - firsts[index] >= 2
        return after_previous and before_next
