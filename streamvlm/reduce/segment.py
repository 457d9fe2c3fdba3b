"""Online segmentation: where a stream is cut into segments whose still cells can become one.

`DPSegmenter` finds the cuts of HoliTom (2025, arXiv 2505.21334), which solves a dynamic programme
over the whole video in O(F^2 N); here it is solved exactly in O(N + W) a clip, and a cut is told as
soon as no future clip can move it. `AnchorSegmenter` is the rule of EarlyTom (2026, arXiv
2605.30010): it knows one clip of the past and is never late.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from streamvlm.reduce.host import read
from streamvlm.reduce.ops import cosine_distance, cosine_distances, row_lengths

_ANCHOR_WEIGHT = 0.9
"""Of the newest clip in the moving mean."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segment:
    """Clips that follow each other and are reduced as one."""

    num_clips: int
    is_static: Tensor
    """bool [N]: cells that each clip shows as the one before it did; none in a single clip."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """A clip that was compared with the one before it, if there is one."""

    features: Tensor
    """float [N,D]."""
    lengths: Tensor
    """float32 at least, [N]: of its rows, for the clip behind to be compared with."""
    runs: Tensor
    """uint8 [N], see `static_runs`."""
    counts: list[int]
    """[W], see `static_runs`."""


class Segmenter(Protocol):
    """Clips of one stream and one size in, segments out, in order; each clip is in one segment."""

    def push(self, clip: Tensor | Compared) -> list[Segment]:
        """One more clip, float [N,D], or what is known of it. Gives the segments that are final."""
        ...

    @property
    def before(self) -> Compared | None:
        """The clip before, for those who compare the next one themselves; None where there is none,
        or where `Compared` is not for this segmenter.
        """
        ...

    def flush(self) -> list[Segment]:
        """No clip follows: the segments of all that wait. The next clip begins anew."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    """A clip that belongs to no segment yet."""

    runs: Tensor
    """uint8 [N], for how many clips each cell has been static, this one not counted."""
    counts: list[int]
    """[W], how many cells have been static for at least so many clips."""


def static_runs(distance: Tensor, runs: Tensor, most: int, below: float) -> tuple[Tensor, Tensor]:
    """uint8 [...,N], for how many clips each cell has been static, this one not counted, and int64
    [...,W], how many cells have been so for at least 0 ... `most` clips: by the distances to the
    clip before, [...,N], and by its runs.
    """
    runs = torch.where(distance < below, (runs + 1).clamp_max(most), 0)
    lengths = torch.arange(most + 1, device=runs.device)[:, None]
    return runs, (runs[..., None, :] >= lengths).sum(dim=-1)


class DPSegmenter:
    """The cuts for which most tokens become superfluous, when each static cell of a segment is
    kept once: of a segment of w clips w - 1 times the number of its static cells.

    Of equally good ones a single clip is preferred, then the shortest segment.
    """

    def __init__(
        self, *, similarity: float = 0.8, max_clips: int = 8, max_waiting: int = 8
    ) -> None:
        """A cell is static while its cosine to the clip before is above `similarity`. A segment has
        at most `max_clips`; when `max_waiting` clips wait, the first segment of the best cut so far
        is told, be it final or not.
        """
        self._distance, self._max_clips = 1 - similarity, max_clips
        self._max_waiting = max_waiting
        self._before: Compared | None = None
        self._waiting: deque[_Waiting] = deque()
        self._removed = [0]
        """[waiting + 1], tokens that the best cut of the first that wait makes superfluous."""
        self._lengths = [0]
        """[waiting + 1], clips in the last segment of that cut."""

    def push(self, clip: Tensor | Compared) -> list[Segment]:
        """One more clip, float [N,D], or what is known of it. Gives the segments that are final."""
        found = clip if isinstance(clip, Compared) else self._compare(clip)
        self._before = found
        self._waiting.append(_Waiting(runs=found.runs, counts=found.counts))
        self._extend()
        segments = self._take(self._num_final())
        if len(self._waiting) >= self._max_waiting:
            segments += self._take(self._cuts(len(self._waiting))[-2])
            del self._removed[1:], self._lengths[1:]
            for _ in self._waiting:
                self._extend()
        return segments

    @property
    def before(self) -> Compared | None:
        """See `Segmenter`."""
        return self._before

    def flush(self) -> list[Segment]:
        """No clip follows: the segments of all that wait. The next clip begins anew."""
        segments = self._take(len(self._waiting))
        self._before = None
        return segments

    @property
    def num_waiting(self) -> int:
        """Clips that belong to no segment yet."""
        return len(self._waiting)

    def _compare(self, features: Tensor) -> Compared:
        most = self._max_clips - 1
        if self._before is None:
            lengths = row_lengths(features)
            runs = torch.zeros_like(lengths, dtype=torch.uint8)
            counts = [len(features)] + [0] * most
        else:
            (distance,), (lengths,) = cosine_distances(
                [features], [self._before.features], [self._before.lengths]
            )
            runs, found = static_runs(distance, self._before.runs, most, self._distance)
            counts = list(map(int, read(found)[0]))
        return Compared(features=features, lengths=lengths, runs=runs, counts=counts)

    def _extend(self) -> None:
        """The best cut of one clip more."""
        end = len(self._removed)
        counts = self._waiting[end - 1].counts
        removed, length = self._removed[end - 1], 1
        for clips in range(2, min(end, self._max_clips) + 1):
            here = self._removed[end - clips] + (clips - 1) * counts[clips - 1]
            if here > removed:
                removed, length = here, clips
        self._removed.append(removed)
        self._lengths.append(length)

    def _cuts(self, end: int) -> list[int]:
        """Where the best cut of the first `end` that wait has its cuts, from last to first."""
        cuts = [end]
        while end:
            end -= self._lengths[end]
            cuts.append(end)
        return cuts

    def _num_final(self) -> int:
        """How many of the clips that wait are in segments that no future clip can change.

        A segment of the future begins behind one of the newest clips, at most `max_clips` before
        its end, and only where some cell has been static ever since: else a single clip is as good.
        What the best cuts up to all these places share is settled.
        """
        end = len(self._waiting)
        static_for = self._waiting[-1].counts
        newest = range(max(0, end - self._max_clips + 1), end)
        places = [each for each in newest if static_for[end - 1 - each]]
        return max(set(self._cuts(end)).intersection(*map(self._cuts, places)))

    def _take(self, num_clips: int) -> list[Segment]:
        """The segments of the first clips that wait; these wait no more."""
        cuts = self._cuts(num_clips)[::-1]
        segments = []
        for start, end in pairwise(cuts):
            taken = [self._waiting.popleft() for _ in range(end - start)]
            is_static = taken[-1].runs >= max(1, end - start - 1)
            if end - start == 1:
                is_static = torch.zeros_like(is_static)
            segments.append(Segment(num_clips=end - start, is_static=is_static))
        gone = self._removed[num_clips]
        self._removed = [removed - gone for removed in self._removed[num_clips:]]
        self._lengths = self._lengths[num_clips:]
        return segments


class AnchorSegmenter:
    """A segment goes on while its clips resemble its first one, by a moving mean over clips."""

    def __init__(self, *, similarity: float = 0.65, max_clips: int = 8) -> None:
        """A new segment begins where the mean cosine of the cells to those of the first clip falls
        below `similarity`, and after `max_clips`.
        """
        self._similarity, self._max_clips = similarity, max_clips
        self._anchor: Tensor | None = None
        self._previous: Tensor | None = None
        self._mean = 1.0
        self._num_clips = 0
        self._is_static = torch.empty(0)

    def push(self, clip: Tensor | Compared) -> list[Segment]:
        """One more clip, float [N,D]. Gives the segment that ended before it, if one did."""
        features = clip.features if isinstance(clip, Compared) else clip
        if self._anchor is not None and self._previous is not None:
            ((distance,),) = read(cosine_distance(self._anchor, features).mean())
            self._mean = _ANCHOR_WEIGHT * (1 - distance) + (1 - _ANCHOR_WEIGHT) * self._mean
            if self._mean >= self._similarity and self._num_clips < self._max_clips:
                alike = cosine_distance(self._previous, features) < 1 - self._similarity
                self._is_static = self._is_static & alike
                self._previous, self._num_clips = features, self._num_clips + 1
                return []
        ended = self.flush()
        self._anchor = self._previous = features
        self._is_static = torch.ones(len(features), dtype=torch.bool, device=features.device)
        self._num_clips = 1
        return ended

    def flush(self) -> list[Segment]:
        """No clip follows: the segment that is open. The next clip begins anew."""
        num_clips, self._num_clips = self._num_clips, 0
        self._anchor = self._previous = None
        self._mean = 1.0
        if not num_clips:
            return []
        return [Segment(num_clips=num_clips, is_static=self._is_static & (num_clips > 1))]

    @property
    def before(self) -> Compared | None:
        """See `Segmenter`."""
        return None
