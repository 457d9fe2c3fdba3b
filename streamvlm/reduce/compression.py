"""One stream's compression, step by step; see `compressor` for what it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamvlm.reduce.base import ReductionContext, Reference
from streamvlm.reduce.budget import Allowance
from streamvlm.reduce.carry import advance_reference
from streamvlm.reduce.clustering import KeyClips
from streamvlm.reduce.holistic import collect, join_background, join_static, own_all
from streamvlm.reduce.ops import (
    by_strength,
    cosine_distance,
    directions,
    evenly_spaced,
    keep_rows,
    scaled,
    strongest_rows,
)
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.selection import most_relevant
from streamvlm.reduce.strategies.dtd import Change
from streamvlm.reduce.strategies.ktv import KTV
from streamvlm.reduce.stream import Reduced
from streamvlm.types import KeptTokens, StreamTime, VisualTokens

if TYPE_CHECKING:
    from streamvlm.reduce.compressor import Compressor

CURVE_CLIPS = 600
"""How many clips the drop-ratio curve reaches back."""
_MOST_RUNS = 16
_DIVERSITY_WEIGHT = 0.5
"""Of being important, beside being unlike what is chosen, in the part that is chosen for that."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiting:
    """A clip that belongs to no complete segment yet, and what dropping left of it."""

    tokens: VisualTokens
    kept: KeptTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Tokens that came, and that each step left, since the stream began."""

    seen: int = 0
    dropped_to: int = 0
    merged_to: int = 0
    background_to: int = 0
    kept: int = 0
    """With those of key clips."""


class CompressorStream:
    """One stream's compression; bounded: what was kept of each cell, and the clips that wait."""

    def __init__(self, settings: Compressor) -> None:
        self._settings, self._dtd = settings, settings.dtd
        self._segmenter = settings.new_segmenter()
        self._keys = KeyClips(max_runs=_MOST_RUNS)
        self._clip_index = 0
        self._reference: Reference | None = None
        self._allowance: Allowance | None = None
        self._waiting: deque[_Waiting] = deque()
        self._rescued: list[Reduced] = []
        self.curve: deque[float] = deque(maxlen=CURVE_CLIPS)
        """The drop ratio of each clip, in order; without refreshes and caps."""
        self.steps = Steps()

    def push(self, tokens: VisualTokens, following: VisualTokens | None) -> list[Reduced]:
        """See `StreamReduction`."""
        kept = self._drop(tokens)
        is_other_size = self._waiting and self._waiting[-1].tokens.grid_thw != tokens.grid_thw
        done, self._rescued = self._rescued, []
        try:
            segments = self._segmenter.flush() if is_other_size else []
            done += [self._complete(segment) for segment in segments]
            segments = self._segmenter.push(tokens.features)
            self._waiting.append(_Waiting(tokens=tokens, kept=kept))
            done += [self._complete(segment) for segment in segments]
        except Exception:
            plain = self.waiting
            self._rescued = [*done, plain] if plain else done
            self._waiting.clear()
            self._segmenter = self._settings.new_segmenter()
            raise
        return done

    def flush(self) -> list[Reduced]:
        """See `StreamReduction`."""
        done, self._rescued = self._rescued, []
        done += [self._complete(segment) for segment in self._segmenter.flush()]
        self._reference = None
        return done

    def extend(self, end: StreamTime) -> bool:
        """See `StreamReduction`."""
        if self._waiting:
            newest = self._waiting.pop()
            interval = newest.tokens.interval.until(end)
            self._waiting.append(
                _Waiting(
                    tokens=replace(newest.tokens, interval=interval),
                    kept=replace(newest.kept, interval=interval),
                )
            )
        return bool(self._waiting)

    @property
    def waiting(self) -> Reduced | None:
        """See `StreamReduction`."""
        parts = [*self._rescued, *([_plain(self._waiting)] if self._waiting else [])]
        if not parts:
            return None
        return Reduced(
            clips=tuple(clip for part in parts for clip in part.clips),
            interval=parts[0].interval.until(parts[-1].interval.end),
        )

    @property
    def num_bytes(self) -> int:
        """Of the tensors that are held for the stream."""
        held = [each.tokens.features for each in self._waiting]
        held += [each.kept.features for each in self._waiting]
        held += [
            each.tokens.deepstack for each in self._waiting if each.tokens.deepstack is not None
        ]
        if self._reference is not None:
            held += [self._reference.features, self._reference.age]
        held += [tensor for run in self._keys.runs for tensor in (run.mean, run.key)]
        return sum(tensor.nbytes for tensor in held)

    def _drop(self, tokens: VisualTokens) -> KeptTokens:
        """What changed, within what the budget allows; changes nothing where it fails."""
        settings = self._settings
        budget = settings.budget(len(tokens))
        is_timed = settings.tokens_per_minute is not None
        now = tokens.pts_seconds if is_timed else float(self._clip_index)
        before = self._allowance or budget.begin(now)
        allowance = budget.advance(before, now)
        context = ReductionContext(clip_index=self._clip_index, reference=self._reference)
        change = replace(self._dtd, threshold=allowance.threshold).compare(tokens, context)
        if change is None:
            count = min(len(tokens), allowance.max_kept)
            rows, wanted, is_cut = evenly_spaced(len(tokens), count), len(tokens), True
        else:
            wanted, is_cut = int(change.is_changed.sum()), bool(change.is_cut)
            rows = self._choose(tokens, change, allowance.max_kept)
        kept = keep_rows(tokens, rows)
        self._allowance = budget.settle(
            allowance,
            wanted=wanted,
            kept=len(kept),
            seconds=now - before.pts_seconds,
            is_cut=is_cut,
        )
        self._reference = advance_reference(self._reference, tokens, kept)
        self._clip_index += 1
        self.curve.append(1 - wanted / max(1, len(tokens)))
        self.steps = replace(
            self.steps,
            seen=self.steps.seen + len(tokens),
            dropped_to=self.steps.dropped_to + len(kept),
        )
        return kept

    def _choose(self, tokens: VisualTokens, change: Change, most: int) -> Tensor:
        """int64 [K], the rows that are kept: all that should be, or the best within `most`."""
        keep = change.is_changed | change.is_cut | change.is_due
        rows = strongest_rows(keep, change.distance, at_least=1, at_most=None)
        if len(rows) <= most:
            return rows
        sure = most - int(most * self._settings.diversity_share)
        others = rows[sure:]
        unit = directions(tokens.features)
        chosen = most_relevant(
            unit[others],
            scaled(change.distance[others]),
            most - sure,
            _DIVERSITY_WEIGHT,
            known=unit[rows[:sure]],
        )
        return torch.cat([rows[:sure], others[chosen]])

    def _complete(self, segment: Segment) -> Reduced:
        """The first clips that wait, merged; these wait no more."""
        settings = self._settings
        parts = [self._waiting[number] for number in range(segment.num_clips)]
        clips = [part.tokens for part in parts]
        features = torch.stack([clip.features for clip in clips])
        keep = torch.zeros(features.shape[:2], dtype=torch.bool, device=features.device)
        for number, part in enumerate(parts):
            keep[number, part.kept.indices] = True
        owner = own_all(keep)
        counts = [int(keep.sum())]
        if settings.merge != "off":
            into_first = settings.merge == "first"
            owner = join_static(features, owner, segment.is_static, into_first=into_first)
        counts.append(_num_standing(owner))
        if settings.background_ratio < 1:
            owner = join_background(features, owner, segment.is_static, settings.background_ratio)
        counts.append(_num_standing(owner))
        owner = self._with_key_clip(features, owner, counts[-1])
        counts.append(_num_standing(owner))
        kept = collect(clips, owner, average=settings.merge == "mean")
        self._refund(counts[0] - counts[-1], len(clips[0]))
        for _ in parts:
            self._waiting.popleft()
        self.steps = replace(
            self.steps,
            merged_to=self.steps.merged_to + counts[1],
            background_to=self.steps.background_to + counts[2],
            kept=self.steps.kept + counts[3],
        )
        return Reduced(
            clips=tuple(each for each in kept if len(each)),
            interval=clips[0].interval.until(clips[-1].interval.end),
            owners=lambda: owner,
        )

    def _with_key_clip(self, features: Tensor, owner: Tensor, num_kept_now: int) -> Tensor:
        """Where the segment opens a new scene, its key clip gets more of its tokens."""
        if not self._settings.key_share:
            return owner
        mean = features.float().mean(dim=1)  # [T,D]
        key = int(cosine_distance(mean, mean.mean(dim=0, keepdim=True)).argmin())
        self._keys.push(features[key])
        is_new = self._keys.runs[-1].num_clips == 1
        if not (is_new and self._allowance):
            return owner
        more = round(self._settings.key_share * num_kept_now)
        score = KTV().scores(features[key]).masked_fill(owner[key] >= 0, -torch.inf)
        num_left = int((owner[key] < 0).sum())
        rows = by_strength(score)[: min(more, num_left, self._allowance.max_kept)]
        own = owner.clone()
        own[key, rows] = rows + key * owner.shape[1]
        return own

    def _refund(self, num_tokens: int, num_cells: int) -> None:
        """What merging saved, or key clips cost, goes to the budget."""
        if self._allowance is not None:
            most = self._settings.budget(num_cells).burst_tokens
            level = min(most, max(0.0, self._allowance.level + num_tokens))
            self._allowance = replace(self._allowance, level=level)


def _num_standing(owner: Tensor) -> int:
    rows = torch.arange(owner.numel(), device=owner.device)
    return int((owner.flatten() == rows).sum())


def _plain(waiting: Sequence[_Waiting]) -> Reduced:
    return Reduced(
        clips=tuple(each.kept for each in waiting if len(each.kept)),
        interval=waiting[0].tokens.interval.until(waiting[-1].tokens.interval.end),
    )
