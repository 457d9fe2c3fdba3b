"""What is not a block yet, laid out for a context: the open segment and the fresh window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from streamvlm.evidence import Recent
from streamvlm.reduce import Reduced
from streamvlm.types import Interval, VisualTokens
from streamvlm.vlm import VLM, Cursor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FreshClip:
    """A clip in the fresh window."""

    tokens: VisualTokens
    after_gap: bool
    """The stream was blind just before: nothing may be compared or joined across."""

    @property
    def interval(self) -> Interval:
        """What it stands for."""
        return self.tokens.interval


def lay_out(vlm: VLM, segment: Reduced, cursor: Cursor) -> tuple[Recent, Cursor]:
    """A segment at the cursor, and where what follows goes."""
    clips = []
    for kept in segment.clips:
        laid_out, cursor = vlm.lay_out_clip(kept, cursor)
        clips.append(laid_out)
    return Recent(clips=tuple(clips), interval=segment.interval), cursor


def lay_out_recent(
    vlm: VLM, waiting: Reduced | None, fresh: Iterable[FreshClip], cursor: Cursor
) -> tuple[list[Recent], Cursor]:
    """What waits to become a block and each fresh clip, oldest first, and where text behind them
    goes.
    """
    recent = []
    if waiting:
        laid_out, cursor = lay_out(vlm, waiting, cursor)
        recent = [laid_out]
    for number, each in enumerate(fresh):
        clip, cursor = vlm.lay_out_clip(each.tokens, cursor)
        recent.append(
            Recent(
                clips=(clip,),
                interval=each.tokens.interval,
                is_continued=number > 0 and not each.after_gap,
            )
        )
    return recent, cursor
