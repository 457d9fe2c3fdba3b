"""One stream's compression, step by step; see `compressor` for what it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamvlm.reduce.base import Reference
from streamvlm.reduce.budget import Allowance
from streamvlm.reduce.carry import advance_reference
from streamvlm.reduce.clustering import KeyClips
from streamvlm.reduce.footprint import held_bytes
from streamvlm.reduce.holistic import (
    collect,
    join_background,
    join_static,
    own_rows,
    standing_rows,
)
from streamvlm.reduce.host import read
from streamvlm.reduce.look import Change, Looked, Standing, look
from streamvlm.reduce.ops import (
    by_strength,
    cosine_distance,
    directions,
    evenly_spaced,
    scaled,
    take_rows,
)
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.selection import most_relevant
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
        self._settings = settings
        self._segmenter = settings.new_segmenter()
        self._keys = KeyClips(max_runs=_MOST_RUNS)
        self._clip_index = 0
        self._grid_thw: tuple[int, int, int] | None = None
        self._reference: Reference | None = None
        self._allowance: Allowance | None = None
        self._waiting: deque[_Waiting] = deque()
        self._rescued: list[Reduced] = []
        self.curve: deque[float] = deque(maxlen=CURVE_CLIPS)
        """The drop ratio of each clip, in order; without refreshes and caps."""
        self.steps = Steps()

    def push(self, tokens: VisualTokens, following: VisualTokens | None) -> list[Reduced]:
        """See `StreamReduction`."""
        (looked,) = look([self.standing(tokens)], [tokens])
        return self.take(tokens, looked)

    def standing(self, tokens: VisualTokens) -> Standing:
        """What is known as this clip comes; changes nothing."""
        budget = self._settings.budget(len(tokens))
        now = self._now(tokens)
        reference = self._reference
        has_reference = reference is not None and reference.grid_thw == tokens.grid_thw
        return Standing(
            settings=self._settings,
            allowance=budget.advance(self._allowance or budget.begin(now), now),
            clip_index=self._clip_index,
            reference=reference if has_reference else None,
            before=self._segmenter.before if self._grid_thw == tokens.grid_thw else None,
        )

    def take(self, tokens: VisualTokens, looked: Looked) -> list[Reduced]:
        """`push` of a clip that was looked at as this stream stands."""
        kept = self._drop(tokens, looked)
        is_other_size, self._grid_thw = self._grid_thw != tokens.grid_thw, tokens.grid_thw
        done, self._rescued = self._rescued, []
        try:
            segments = self._segmenter.flush() if is_other_size else []
            done += [self._complete(segment) for segment in segments]
            segments = self._segmenter.push(looked.clip)
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

    def forget(self) -> None:
        """See `StreamReduction`."""
        self._segmenter, self._keys = self._settings.new_segmenter(), KeyClips(max_runs=_MOST_RUNS)
        self._waiting.clear()
        self._rescued, self._reference = [], None

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
        """See `StreamReduction`."""
        return held_bytes(self)

    def _now(self, tokens: VisualTokens) -> float:
        is_timed = self._settings.tokens_per_minute is not None
        return tokens.pts_seconds if is_timed else float(self._clip_index)

    def _drop(self, tokens: VisualTokens, looked: Looked) -> KeptTokens:
        """What changed, within what the budget allows; changes nothing where it fails."""
        allowance, change = looked.allowance, looked.change
        budget, now = self._settings.budget(len(tokens)), self._now(tokens)
        seconds = now - (self._allowance.pts_seconds if self._allowance else now)
        if change is None:
            count = min(len(tokens), allowance.max_kept)
            rows, wanted = evenly_spaced(len(tokens), count, tokens.features.device), len(tokens)
        else:
            came = int(budget.tokens_per_second * seconds)
            rows = self._choose(tokens, change, allowance.max_kept, came)
            wanted = change.num_changed
        kept = take_rows(tokens, rows)
        self._allowance = budget.settle(
            allowance,
            wanted=wanted,
            kept=len(kept),
            seconds=seconds,
            is_cut=change is None or change.is_cut,
        )
        self._reference = advance_reference(self._reference, tokens, kept, reuse=True)
        self._clip_index += 1
        self.curve.append(1 - wanted / max(1, len(tokens)))
        self.steps = replace(
            self.steps,
            seen=self.steps.seen + len(tokens),
            dropped_to=self.steps.dropped_to + len(kept),
        )
        return kept

    def _choose(self, tokens: VisualTokens, change: Change, most: int, came: int) -> Tensor:
        """int64 [K], in order: all that should be kept, or the best within `most`; where that is
        less than what `came` into the budget with the clip, the key tokens of the clip besides.
        """
        rows = change.rows[: max(1, change.num_worth)]
        if self._settings.fill and len(rows) < min(most, came):
            rest = change.rows[len(rows) :]
            score = KTV().scores(tokens.features).index_select(0, rest)
            more = rest.index_select(0, by_strength(score)[: min(most, came) - len(rows)])
            rows = torch.cat([rows, more])
        if len(rows) > most:
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
            rows = torch.cat([rows[:sure], others[chosen]])
        return rows.sort().values

    def _complete(self, segment: Segment) -> Reduced:
        """The first clips that wait, merged; these wait no more."""
        settings = self._settings
        parts = [self._waiting[number] for number in range(segment.num_clips)]
        clips = [part.tokens for part in parts]
        features = [clip.features for clip in clips]
        owner = own_rows([part.kept.indices for part in parts], len(clips[0]))
        dropped_to = sum(len(part.kept) for part in parts)
        if settings.merge != "off" and len(parts) > 1:
            into_first = settings.merge == "first"
            owner = join_static(features, owner, segment.is_static, into_first=into_first)
        merged_to = standing_rows(owner).sum()
        if settings.background_ratio < 1:
            owner = join_background(features, owner, segment.is_static, settings.background_ratio)
        background_to = standing_rows(owner).sum()
        owner = self._with_key_clip(features, owner)
        counts = standing_rows(owner).sum(dim=1)
        steps, each = read(torch.stack([merged_to, background_to]), counts)
        merged, background = map(int, steps)
        kept = collect(clips, owner, list(map(int, each)), average=settings.merge == "mean")
        num_kept = sum(map(len, kept))
        self._refund(dropped_to - num_kept, len(clips[0]))
        for _ in parts:
            self._waiting.popleft()
        self.steps = replace(
            self.steps,
            merged_to=self.steps.merged_to + merged,
            background_to=self.steps.background_to + background,
            kept=self.steps.kept + num_kept,
        )
        return Reduced(
            clips=tuple(each for each in kept if len(each)),
            interval=clips[0].interval.until(clips[-1].interval.end),
            owners=lambda: owner,
        )

    def _with_key_clip(self, features: Sequence[Tensor], owner: Tensor) -> Tensor:
        """Where the segment opens a new scene, its key clip gets more of its tokens."""
        if not self._settings.key_share:
            return owner
        mean = torch.stack([each.float().mean(dim=0) for each in features])  # [T,D]
        nearest = cosine_distance(mean, mean.mean(dim=0, keepdim=True)).argmin()
        ((found,), (num_kept_now,)) = read(nearest, standing_rows(owner).sum())
        key = int(found)
        self._keys.push(features[key])
        is_new = self._keys.runs[-1].num_clips == 1
        if not (is_new and self._allowance):
            return owner
        more = round(self._settings.key_share * num_kept_now)
        score = KTV().scores(features[key]).masked_fill(owner[key] >= 0, -torch.inf)
        ((num_left,),) = read((owner[key] < 0).sum())
        rows = by_strength(score)[: min(more, int(num_left), self._allowance.max_kept)]
        own = owner.clone()
        own[key].index_copy_(0, rows, rows + key * owner.shape[1])
        return own

    def _refund(self, num_tokens: int, num_cells: int) -> None:
        """What merging saved, or key clips cost, goes to the budget."""
        if self._allowance is not None:
            most = self._settings.budget(num_cells).burst_tokens
            level = min(most, max(0.0, self._allowance.level + num_tokens))
            self._allowance = replace(self._allowance, level=level)


def _plain(waiting: Sequence[_Waiting]) -> Reduced:
    return Reduced(
        clips=tuple(each.kept for each in waiting if len(each.kept)),
        interval=waiting[0].tokens.interval.until(waiting[-1].tokens.interval.end),
    )
