"""What is noted of a video, clip by clip, while a strategy reduces it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from streamvlm.encode import check_finite
from streamvlm.evaluate.reduction.fates import ClipShape, fates_of
from streamvlm.evaluate.reduction.seen import Reduction, SeenClip, Span, Spent
from streamvlm.reduce import AnyReducer, Reduced, ReductionContext, open_stream, reduce_clip
from streamvlm.reduce.clustering import KeyClips
from streamvlm.reduce.compression import Steps
from streamvlm.reduce.strategies.dtd import DTD
from streamvlm.types import Clip, VisualTokens

KEY_CLIPS = 8
"""At most so many stretches of like clips, with the clip that shows best what each shows."""


@runtime_checkable
class _Telling(Protocol):
    """A stream's reduction that tells how much had changed, and what each step left."""

    curve: deque[float]
    steps: Steps


class _Changes:
    """How much of each clip had changed since it was last kept, by dropping alone."""

    def __init__(self, reducer: AnyReducer) -> None:
        """By the settings of the strategy where it drops what did not change."""
        told = (reducer, getattr(reducer, "dtd", None))
        self._dtd = next((each for each in told if isinstance(each, DTD)), DTD())
        self._context = ReductionContext()

    def look(self, tokens: VisualTokens) -> tuple[float, bool]:
        """The drop ratio of the next clip, and whether it shows another scene; the first one is all
        new, and no cut.
        """
        change = self._dtd.compare(tokens, self._context)
        _, self._context = reduce_clip(self._dtd, tokens, self._context)
        if change is None:
            return 0.0, False
        return 1 - float(change.is_changed.float().mean()), bool(change.is_cut)


@dataclass(slots=True, kw_only=True)
class _Held:
    """The newest clip: it is reduced when the one behind it is there."""

    index: int
    tokens: VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A clip that belongs to no segment yet."""

    index: int
    shape: ClipShape


class Watching:
    """A video that is being reduced. Holds its newest clip, and what the strategy holds."""

    def __init__(self, reducer: AnyReducer, segment_clips: int, device: torch.device) -> None:
        self.spent = Spent()
        self._device = device
        self._stream = open_stream(reducer, segment_clips)
        self._changes = _Changes(reducer)
        self._keys = KeyClips(max_runs=KEY_CLIPS)
        self._clips: list[SeenClip] = []
        self._segments: list[Span] = []
        self._held: _Held | None = None
        self._pushed: list[int] = []
        self._waiting: deque[_Waiting] = deque()

    def see(self, clip: Clip, tokens: VisualTokens | None) -> None:
        """The next clip; without tokens where it shows nothing new."""
        begin, end = clip.interval.start.pts_seconds, clip.interval.end.pts_seconds
        _, height, width, _ = clip.pixels.shape
        self._clips.append(
            SeenClip(start_seconds=begin, end_seconds=end, num_pixels=(height, width))
        )
        if tokens is not None:
            check_finite(tokens)
            self._push_held(tokens)
            self._held = _Held(index=len(self._clips) - 1, tokens=tokens)
        elif self._held is not None:
            held = self._held.tokens
            self._held.tokens = replace(held, interval=held.interval.until(clip.interval.end))

    def finish(self, kv_bytes_per_token: int) -> Reduction:
        """No clip follows."""
        self._push_held(None)
        with self.spent.on("reduce", self._device):
            rest = self._stream.flush()
        self._settle(rest)
        assert not self._waiting, "a clip is in no segment"
        return Reduction(
            clips=tuple(self._clips),
            segments=tuple(self._segments),
            key_clips=tuple(self._pushed[run.key_clip] for run in self._keys.runs),
            steps=asdict(self._stream.steps) if isinstance(self._stream, _Telling) else None,
            spent=self.spent,
            kv_bytes_per_token=kv_bytes_per_token,
        )

    def _push_held(self, following: VisualTokens | None) -> None:
        if self._held is None:
            return
        held, self._held = self._held, None
        with self.spent.on("reduce", self._device):
            done = self._stream.push(held.tokens, following)
        drop_ratio, is_cut = self._changes.look(held.tokens)
        if isinstance(self._stream, _Telling):
            drop_ratio = self._stream.curve[-1]
        self._clips[held.index] = replace(
            self._clips[held.index], drop_ratio=drop_ratio, is_cut=is_cut
        )
        self._keys.push(held.tokens.features)
        self._pushed.append(held.index)
        self._waiting.append(_Waiting(index=held.index, shape=ClipShape.of(held.tokens)))
        self._settle(done)

    def _settle(self, done: Iterable[Reduced]) -> None:
        """What became of the clips of these segments is known."""
        for reduced in done:
            end = reduced.interval.end.pts_seconds
            mine = []
            while self._waiting and self._waiting[0].shape.end_seconds <= end:
                mine.append(self._waiting.popleft())
            fates = fates_of(reduced, [each.shape for each in mine])
            for each, own in zip(mine, fates, strict=True):
                self._clips[each.index] = replace(self._clips[each.index], fates=own)
            self._segments.append(
                Span(
                    start_seconds=reduced.interval.start.pts_seconds,
                    end_seconds=end,
                    num_clips=len(mine),
                    num_kept=reduced.num_tokens,
                )
            )
