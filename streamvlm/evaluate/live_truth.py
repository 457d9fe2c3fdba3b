"""What is true of a stream that shows a synthetic world, in the stream's own time.

A script counts from its start, a stream from the first frame that its service took. The camera's
UTC, which comes with every frame, ties the two together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from streamvlm.errors import SourceError, StreamEmptyError
from streamvlm.evaluate.items import Item
from streamvlm.evaluate.world.questions import TruthQuestion, ask
from streamvlm.evaluate.world.script import Script
from streamvlm.evaluate.world.truth import Look, looks
from streamvlm.types import AnswerStarted, ClockSource, StreamStatus

FRAMES_PER_CLIP = 2
TOLERANCE_SECONDS = {"when": 2.0, "how_long": 2.0}
"""How far off an answer that is a time may be, by the family of the question."""

_GRID_SECONDS = 0.1
"""Times this close are of one frame; a camera that takes ten a second has none between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveTruth:
    """A script as a live stream shows it; its looks are counted like the clips of the stream."""

    script: Script
    offset_seconds: float
    """Stream time of the script's second 0; below 0 where the stream began later."""
    fps: float = 2.0
    """Frames that the service samples in a second; two make a clip."""

    @classmethod
    def of(
        cls, script: Script, began_utc_seconds: float, status: StreamStatus, *, fps: float = 2.0
    ) -> Self:
        """The truth of a stream that has taken in a clip of a script, and was never interrupted.

        `began_utc_seconds` is when the script's second 0 was, by the camera's clock. Raises
        StreamEmptyError where nothing was seen yet, SourceError where the camera tells no time.
        """
        newest = status.feed.last_frame
        if newest is None:
            raise StreamEmptyError(f"stream {status.stream_id!r} has not shown a clip yet")
        if newest.clock is not ClockSource.RTCP_SR:
            raise SourceError(
                f"stream {status.stream_id!r} has the clock {newest.clock.value!r}; "
                f"truth needs {ClockSource.RTCP_SR.value!r}"
            )
        return cls(
            script=script,
            offset_seconds=newest.pts_seconds - (newest.utc_seconds - began_utc_seconds),
            fps=fps,
        )

    @property
    def clip_seconds(self) -> float:
        """What a clip stands for."""
        return FRAMES_PER_CLIP / self.fps

    @property
    def num_looks(self) -> int:
        """Clips of the stream that lie within the script."""
        end = self.stream_seconds(self.script.seconds)
        return max(0, int((end + _GRID_SECONDS) / self.clip_seconds))

    def seen_script(self) -> Script:
        """The same in stream seconds: what was before the stream began lies below 0."""
        visits = [
            replace(visit, times=tuple(map(self.stream_seconds, visit.times)))
            for visit in self.script.visits
        ]
        troubles = [
            replace(each, start=self.stream_seconds(each.start), end=self.stream_seconds(each.end))
            for each in self.script.troubles
        ]
        return replace(
            self.script,
            seconds=self.stream_seconds(self.script.seconds),
            visits=tuple(visits),
            troubles=tuple(troubles),
        )

    def script_seconds(self, stream_seconds: float) -> float:
        """The script's own second that the stream shows then."""
        return stream_seconds - self.offset_seconds

    def stream_seconds(self, script_seconds: float) -> float:
        """When the stream shows this second of the script."""
        return script_seconds + self.offset_seconds

    def looks(self, newest: int) -> list[Look]:
        """The truth of all clips up to this one, their times in stream seconds."""
        starts = [index * self.clip_seconds for index in range(newest + 1)]
        return looks(self.seen_script(), starts, frame_seconds=1 / self.fps)

    def questions(self, newest: int, rng: np.random.Generator, count: int) -> list[TruthQuestion]:
        """Up to `count` questions for when this look is the newest, in the words of the test split.

        Their times are stream seconds, in the answers as well.
        """
        return ask(self.looks(newest), rng, count, split="test")

    def look_of(self, stream_seconds: float) -> int:
        """The clip that has the frame taken then."""
        return math.floor((stream_seconds + _GRID_SECONDS / 2) / self.clip_seconds)

    def newest_look(self, started: AnswerStarted) -> int:
        """The newest clip that an answer was given from.

        Raises SourceError where the clips of the stream are not those of the looks: the stream was
        interrupted.
        """
        end = max(piece.interval.end.pts_seconds for piece in started.evidence)
        clips = end / self.clip_seconds
        if started.gaps or abs(clips - round(clips)) * self.clip_seconds > _GRID_SECONDS:
            raise SourceError(
                f"the stream was interrupted: {len(started.gaps)} gaps, evidence until {end:.2f} s"
            )
        return round(clips) - 1

    def is_unchanged(self, one: int, other: int) -> bool:
        """Whether all looks from the one to the other show the same, so that a question has the
        same answer at each.
        """
        first, last = min(one, other), max(one, other)
        shown = self.looks(last)[first:]
        return all(_content(each) == _content(shown[0]) for each in shown)


def item_of(question: TruthQuestion, item_id: str) -> Item:
    """The question as an item that can be scored.

    Only what is about the past has the time of an event, and not whether something was ever there:
    a "yes" would have an age and a "no" none.
    """
    has_age = question.group == "past" and question.family != "ever"
    return Item(
        item_id=item_id,
        family=question.family,
        group=question.group,
        question=question.text,
        answer=question.answer,
        asked_seconds=question.asked_seconds,
        event_seconds=question.event_seconds if has_age else None,
        tolerance_seconds=TOLERANCE_SECONDS.get(question.family),
    )


def _content(shown: Look) -> tuple[Sequence[object], ...]:
    """What questions can be about."""
    return (
        [shown.is_black, shown.is_clear],
        [(sight.visit, sight.zone, sight.moving) for sight in shown.sights],
        [sight.visit for sight in shown.present],
    )
