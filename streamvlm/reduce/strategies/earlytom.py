"""Keep the ends of a scene by attention, and its middle by one token a window.

After "EarlyTom: Early Token Compression Completes Fast Video Understanding" (2026, arXiv
2605.30010). A scene goes on while it resembles its first clip; in its middle a clip that resembles
the next one more than the ends resemble each other becomes one with it. EarlyTom does so inside the
tower, which saves the tower work; here it is behind it. Its code loses the last clip of the middle;
here that is compared with the end like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, Signal, num_kept, shared_out
from streamvlm.reduce.holistic import gather, own_rows, weigh
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import by_strength, cosine_distance
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.segment import AnchorSegmenter, Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyTom:
    """Keep a fixed share of each scene, as much of each clip that is left."""

    about: ClassVar[About] = About(
        title="EarlyTom: Early Token Compression Completes Fast Video Understanding",
        year=2026,
        arxiv="2605.30010",
        kind="merge",
        lag_clips=8,
        cost="O(ND + N log N)",
        licence="Apache-2.0",
        substitution="Scenes are cut and clips merged behind the tower instead of inside it, by the"
        " same rules on its last features; one attention of the tower ranks.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    similarity: Annotated[float, Ge(-1), Le(1)] = 0.6
    """Mean cosine to the first clip below which a scene ends."""
    segment_clips: Annotated[int, Ge(1)] = 8
    """Most clips of a scene, and most that wait."""

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        new_segmenter = partial(
            AnchorSegmenter, similarity=self.similarity, max_clips=self.segment_clips
        )
        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        owner = self.owners(clips, segment)
        kept = gather(clips, owner, average=True)
        for number, own_weight in self._pairs(clips).items():
            kept[number] = weigh(kept[number], clips[number], own_weight)
        return kept

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], which row each one of a segment joins."""
        num_clips, num_cells = len(clips), len(clips[0])
        pairs = self._pairs(clips)
        stays = [number for number in range(num_clips) if number - 1 not in pairs]
        count = min(num_kept(num_clips * num_cells, self.keep_ratio), len(stays) * num_cells)
        counts = dict(zip(stays, shared_out(count, [num_cells] * len(stays)), strict=True))
        kept = []
        for number, clip in enumerate(clips):
            strength = received_attention(clip)
            if number in pairs:
                behind = received_attention(clips[number + 1])
                strength = behind.lerp(strength, pairs[number])
            is_end = number in (0, num_clips - 1)
            choose = _strongest if is_end else _best_of_windows
            kept.append(choose(strength, counts.get(number, 0)))
        owner = own_rows(kept, num_cells)
        for number in pairs:
            owner[number + 1] = owner[number]
        return owner

    def _pairs(self, clips: Sequence[VisualTokens]) -> dict[int, float]:
        """Clips of the middle that the one behind them joins, and what each weighs of the two."""
        if self.keep_ratio == 1 or len(clips) < 4:
            return {}
        features = [clip.features for clip in clips]
        likeness = [1 - cosine_distance(*both).mean() for both in pairwise(features)]
        ends = 1 - cosine_distance(features[0], features[-1]).mean()
        (numbers,) = read(torch.stack([ends, *likeness]))
        of_ends, to_next = numbers[0], numbers[1:]
        pairs: dict[int, float] = {}
        for number in range(1, len(clips) - 2):
            own, behind = to_next[number], to_next[number + 1]
            # What points elsewhere has no weight, and would get a negative one.
            if number - 1 not in pairs and own > max(of_ends, behind, 0.0):
                pairs[number] = own / (own + max(behind, 0.0))
        return pairs


def _strongest(strength: Tensor, count: int) -> Tensor:
    """int64 [count]: the strongest rows of float [N]."""
    return by_strength(strength)[:count]


def _best_of_windows(strength: Tensor, count: int) -> Tensor:
    """int64 [count]: the strongest row of each of so many windows, the first ones longer by one
    where float [N] cannot be split evenly.
    """
    index = torch.arange(len(strength), device=strength.device)
    windows = torch.tensor_split(index, max(1, count))[:count]
    return torch.cat([index[:0], *(each[by_strength(strength[each])[:1]] for each in windows)])
