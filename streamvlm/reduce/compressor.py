"""The composed compressor: what changed is kept, within a budget; what stands still, now and then.

    clip -> dropping, to the budget -> key tokens, up to it    at once
         -> segmentation -> merging -> background -> key clip  when its segment is complete

Each step is the identity by its setting, and counts what it leaves. Dropping compares with what was
last kept of each cell, so that memory holds what is within the threshold of the scene; the budget
moves that threshold. Where less changed than the budget allows, the rest of it goes to what a clip
repeats least. Merging makes one of tokens that are alike: no cell is lost by it, and what it saves
goes back to the budget. `compression` is one stream's side of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, Signal
from streamvlm.reduce.budget import TokenBudget
from streamvlm.reduce.compression import CompressorStream
from streamvlm.reduce.segment import AnchorSegmenter, DPSegmenter, Segmenter
from streamvlm.reduce.strategies.dtd import DTD

_DEFAULT_RATIO = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """Reduces segments of a stream to a budget."""

    about: ClassVar[About] = About(
        title="What changed, within a budget; what stands still, now and then",
        kind="merge",
        lag_clips=7,
        cost="O(N^2 D)",
        licence="ours",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = _DEFAULT_RATIO
    """Of the tokens of the stream, over time."""
    tokens_per_minute: Annotated[float, Gt(0)] | None = None
    """Of stream time, instead of `keep_ratio`."""
    burst_clips: Annotated[float, Ge(1)] = 4.0
    """How many whole clips a calm saves up for a cut."""
    first_threshold: Annotated[float, Gt(0), Le(2)] = 0.3
    """Distance beyond which a cell has changed, before the budget has moved it."""
    gain: Annotated[float, Gt(0), Le(1)] = 0.3
    """How fast the budget moves it, see `TokenBudget`."""
    neighbourhood: Literal[1, 3] = 1
    cut_threshold: Annotated[float, Ge(0), Le(2)] = 0.6
    max_age: Annotated[int, Ge(1)] = 60
    """As in `DTD`."""
    diversity_share: Annotated[float, Ge(0), Le(1)] = 0.3
    """Where more changed than the budget allows, this share of it goes to what is unlike the rest;
    0: the most changed."""
    fill: bool = True
    """Where less changed than the budget allows, the rest of it goes to the key tokens of the clip,
    by the score of `KTV`."""
    segmenter: Literal["dp", "anchor"] = "dp"
    static_similarity: Annotated[float, Ge(-1), Le(1)] = 0.8
    segment_clips: Annotated[int, Ge(1)] = 8
    """Most clips of a segment, and most that wait."""
    merge: Literal["off", "first", "medoid", "mean"] = "medoid"
    """What stands for a static cell that is kept more than once in a segment: the first, which says
    best when it came, the one most like all, or their mean in its place."""
    background_ratio: KeepRatio = 1.0
    """How many of the static tokens of a segment stay; 1: all."""
    key_share: Annotated[float, Ge(0), Le(1)] = 0.0
    """Tokens that the key clip of a new scene gets besides, as a share of those of its segment."""

    def open(self) -> CompressorStream:
        """That of a stream which has seen nothing."""
        return CompressorStream(self)

    def __post_init__(self) -> None:
        if self.tokens_per_minute is not None and self.keep_ratio != _DEFAULT_RATIO:
            raise ValueError("keep_ratio has no effect beside tokens_per_minute")

    def budget(self, num_cells: int) -> TokenBudget:
        """That of a stream whose clips have so many tokens: a second of it is one of the stream, or
        a clip where the budget is a share.
        """
        a_second = (
            self.keep_ratio * num_cells
            if self.tokens_per_minute is None
            else self.tokens_per_minute / 60
        )
        return TokenBudget(
            tokens_per_second=a_second,
            burst_tokens=max(1.0, self.burst_clips * num_cells),
            gain=self.gain,
            first_threshold=self.first_threshold,
        )

    @property
    def dtd(self) -> DTD:
        """The step that drops."""
        return DTD(
            threshold=self.first_threshold,
            neighbourhood=self.neighbourhood,
            cut_threshold=self.cut_threshold,
            max_age=self.max_age,
        )

    def new_segmenter(self) -> Segmenter:
        """The step that cuts."""
        if self.segmenter == "anchor":
            return AnchorSegmenter(similarity=self.static_similarity, max_clips=self.segment_clips)
        return DPSegmenter(
            similarity=self.static_similarity,
            max_clips=self.segment_clips,
            max_waiting=self.segment_clips,
        )
