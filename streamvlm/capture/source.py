"""What every source of pictures promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from streamvlm.types import Frame, Gap, SourceReport

PULSE_SECONDS = 1.0
"""A source at work lets its consumer hear something about this often."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """Nothing new, but the source is at work: it waits to reconnect, or skips pictures."""


SourceItem = Frame | Gap | SourceReport | Pulse


class FrameSource(Protocol):
    """Sampled frames, resized to the model's grid, in the order of their time.

    Iterating ends after a report ENDED, or raises SourceError where the source cannot go on by
    itself. Iterate once, from one thread. A `Gap` precedes the first frame after it.
    """

    @property
    def frames_decoded(self) -> int:
        """Pictures decoded until now, sampled or not."""
        ...

    def __iter__(self) -> Iterator[SourceItem]:
        """Open the source and give what it has."""
        ...

    def close(self) -> None:
        """Make the iteration end at its next item; may be called from any thread, any time."""
        ...
