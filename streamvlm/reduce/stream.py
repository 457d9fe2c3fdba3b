"""One stream's reduction: clips go in as they leave the fresh window, segments come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from streamvlm.reduce.base import Reducer, ReductionContext, Signal
from streamvlm.reduce.carry import reduce_clip
from streamvlm.reduce.footprint import held_bytes
from streamvlm.reduce.ops import keep_rows
from streamvlm.reduce.segment import Segment, Segmenter
from streamvlm.types import Interval, KeptTokens, StreamTime, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reduced:
    """Clips that follow each other, reduced."""

    clips: tuple[KeptTokens, ...]
    """None of them empty; none at all where nothing was worth keeping."""
    interval: Interval
    """What they stand for together, clips of which nothing was kept included."""
    owners: Callable[[], Tensor] | None = None
    """Works out which row of the T clips in `interval` each of their rows joined, int64 [T,N], see
    `holistic`; None where no row joined one of another clip."""

    @property
    def num_tokens(self) -> int:
        """Kept in all."""
        return sum(map(len, self.clips))


class StreamReduction(Protocol):
    """What a stream carries between its fresh window and its memory; bounded. One owner."""

    def push(self, tokens: VisualTokens, following: VisualTokens | None) -> list[Reduced]:
        """One more clip, and the one behind it where that is known. Gives the segments that are
        complete now, in order. Where it fails, this clip is lost and nothing else.
        """
        ...

    def flush(self) -> list[Reduced]:
        """Nothing may be compared across what comes now: the segments of all that waits."""
        ...

    def forget(self) -> None:
        """Hold nothing of what was seen, not even of what waits."""
        ...

    def extend(self, end: StreamTime) -> bool:
        """Nothing new until `end`. False where nothing waits that could stand for it."""
        ...

    @property
    def waiting(self) -> Reduced | None:
        """What belongs to no complete segment yet, as a question sees it."""
        ...

    @property
    def num_bytes(self) -> int:
        """Of all tensors that are held for the stream."""
        ...


@runtime_checkable
class Opening(Protocol):
    """A reducer that reduces segments, and cuts a stream into them itself."""

    @property
    def needs(self) -> frozenset[Signal]:
        """Signals that must be present in the tokens."""
        ...

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        ...


AnyReducer = Reducer | Opening


def open_stream(reducer: AnyReducer, segment_clips: int) -> StreamReduction:
    """The reduction of a stream that has seen nothing. Segments have `segment_clips`, unless the
    reducer cuts them itself.
    """
    if isinstance(reducer, Opening):
        return reducer.open()
    return ClipByClip(reducer, segment_clips)


class BySegment:
    """Clips wait, whole, until the segment that they belong to is complete; then it is reduced."""

    def __init__(
        self,
        new_segmenter: Callable[[], Segmenter],
        reduce: Callable[[Sequence[VisualTokens], Segment], list[KeptTokens]],
        owners: Callable[[Sequence[VisualTokens], Segment], Tensor],
    ) -> None:
        """`reduce` gives what is kept of each clip of a segment, `owners` what joined what."""
        self._new_segmenter, self._reduce, self._owners = new_segmenter, reduce, owners
        self._segmenter = new_segmenter()
        self._waiting: list[VisualTokens] = []

    def push(self, tokens: VisualTokens, following: VisualTokens | None) -> list[Reduced]:
        """See `StreamReduction`."""
        is_other_size = self._waiting and self._waiting[-1].grid_thw != tokens.grid_thw
        done = self.flush() if is_other_size else []
        segments = self._segmenter.push(tokens.features)
        self._waiting.append(tokens)
        return done + [self._complete(segment) for segment in segments]

    def flush(self) -> list[Reduced]:
        """See `StreamReduction`."""
        return [self._complete(segment) for segment in self._segmenter.flush()]

    def forget(self) -> None:
        """See `StreamReduction`."""
        self._segmenter, self._waiting = self._new_segmenter(), []

    def extend(self, end: StreamTime) -> bool:
        """See `StreamReduction`."""
        if self._waiting:
            newest = self._waiting[-1]
            self._waiting[-1] = replace(newest, interval=newest.interval.until(end))
        return bool(self._waiting)

    @property
    def waiting(self) -> Reduced | None:
        """See `StreamReduction`: whole clips, as nobody knows yet what will be left of them."""
        if not self._waiting:
            return None
        rows = torch.arange(len(self._waiting[0]), device=self._waiting[0].features.device)
        return Reduced(
            clips=tuple(keep_rows(clip, rows) for clip in self._waiting if len(clip)),
            interval=self._waiting[0].interval.until(self._waiting[-1].interval.end),
        )

    @property
    def num_bytes(self) -> int:
        """See `StreamReduction`."""
        return held_bytes(self._waiting, self._segmenter)

    def _complete(self, segment: Segment) -> Reduced:
        clips = self._waiting[: segment.num_clips]
        del self._waiting[: segment.num_clips]
        return Reduced(
            clips=tuple(kept for kept in self._reduce(clips, segment) if len(kept)),
            interval=clips[0].interval.until(clips[-1].interval.end),
            owners=partial(self._owners, clips, segment),
        )


class ClipByClip:
    """Each clip is reduced as it comes; so many make a segment."""

    def __init__(self, reducer: Reducer, segment_clips: int) -> None:
        self._reducer, self._segment_clips = reducer, segment_clips
        self._context = ReductionContext()
        self._open: Reduced | None = None

    def push(self, tokens: VisualTokens, following: VisualTokens | None) -> list[Reduced]:
        """See `StreamReduction`."""
        context = replace(self._context, following=following)
        kept, self._context = reduce_clip(self._reducer, tokens, context, reuse=True)
        if not len(kept) and self._open is None:
            return [Reduced(clips=(), interval=tokens.interval)]
        before = self._open or Reduced(clips=(), interval=tokens.interval)
        self._open = Reduced(
            clips=(*before.clips, kept) if len(kept) else before.clips,
            interval=before.interval.until(tokens.interval.end),
        )
        return self._close() if len(self._open.clips) >= self._segment_clips else []

    def flush(self) -> list[Reduced]:
        """See `StreamReduction`."""
        self._context = ReductionContext(clip_index=self._context.clip_index)
        return self._close()

    def forget(self) -> None:
        """See `StreamReduction`."""
        self.flush()

    def extend(self, end: StreamTime) -> bool:
        """See `StreamReduction`."""
        if self._open:
            self._open = replace(self._open, interval=self._open.interval.until(end))
        return self._open is not None

    @property
    def waiting(self) -> Reduced | None:
        """See `StreamReduction`."""
        return self._open

    @property
    def num_bytes(self) -> int:
        """See `StreamReduction`."""
        return held_bytes(self._context, self._open)

    def _close(self) -> list[Reduced]:
        closed, self._open = self._open, None
        return [closed] if closed else []
