"""Keep what stands still once a segment, merge what is alike of it, thin the rest.

After "HoliTom: Holistic Token Merging for Fast Video Large Language Models" (2025, arXiv
2505.21334), outer part; its inner one needs the question. Online instead of over a whole video:
segments are told as soon as they are settled or `segment_clips` wait, and how much is thinned
follows from the segment alone. It ranks what moves by the attention of SigLIP's last layers: here
by the distance to the clip's mean, or by the attention that a token receives in the tower of Qwen.
Of a segment's still cells at least one is kept, and ties go to the lower index instead of to
chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, Signal, num_kept
from streamvlm.reduce.clustering import density_peaks
from streamvlm.reduce.holistic import mean_of, own_rows
from streamvlm.reduce.ops import by_strength, cosine_distance, keep_rows
from streamvlm.reduce.salience import Salience, needed_for, received_attention
from streamvlm.reduce.segment import DPSegmenter, Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class HoliTom:
    """Reduces each segment to about a fixed share."""

    about: ClassVar[About] = About(
        title="HoliTom: Holistic Token Merging for Fast Video Large Language Models",
        year=2025,
        arxiv="2505.21334",
        kind="merge",
        lag_clips=7,
        cost="O(N^2 D)",
        licence="Apache-2.0",
        substitution="Novelty or the attention received in Qwen's tower in place of SigLIP's: it "
        "ranks what moves and nothing else; segments are cut online.",
    )
    keep_ratio: KeepRatio = 0.25
    similarity: Annotated[float, Ge(-1), Le(1)] = 0.8
    """Cosine above which a cell stands still. The paper goes to 0.65 for a ratio of 0.1."""
    segment_clips: Annotated[int, Ge(1)] = 8
    """Most clips of a segment, and most that wait."""
    centre_weight: Annotated[float, Ge(0), Le(1)] = 0.6
    """Of the token that alike ones join; the rest is their mean."""
    salience: Salience = "novelty"
    """What ranks cells that move; novelty is the distance to the clip's mean."""

    @property
    def needs(self) -> frozenset[Signal]:
        """Signals that must be present in the tokens."""
        return needed_for(self.salience)

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""

        def new_segmenter() -> DPSegmenter:
            return DPSegmenter(
                similarity=self.similarity,
                max_clips=self.segment_clips,
                max_waiting=self.segment_clips,
            )

        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        is_static, ratio = segment.is_static, self._ratio(clips, segment)
        kept = [keep_rows(clip, self._moving(clip, ~is_static, ratio)) for clip in clips]
        cells = is_static.nonzero().flatten()
        if len(cells):
            kept[0] = self._with_static(clips, kept[0], cells, ratio)
        return kept

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], which row each one of a segment joins in `reduce`, as in `holistic`."""
        is_static, ratio = segment.is_static, self._ratio(clips, segment)
        moving = [self._moving(clip, ~is_static, ratio) for clip in clips]
        owner = own_rows(moving, len(is_static))
        cells = is_static.nonzero().flatten()
        if len(cells):
            shown = mean_of([clip.features for clip in clips], cells)
            owner[:, cells] = cells[density_peaks(shown, num_kept(len(cells), ratio))]
        return owner

    def _ratio(self, clips: Sequence[VisualTokens], segment: Segment) -> float:
        """What stays of the rows that are left when each static cell is kept once."""
        num_clips, num_cells = len(clips), len(clips[0])
        left = num_clips * num_cells - (num_clips - 1) * int(segment.is_static.sum())
        return min(1.0, self.keep_ratio * num_clips * num_cells / max(1, left))

    def _moving(self, clip: VisualTokens, is_moving: Tensor, ratio: float) -> Tensor:
        """int64 [K]: of the cells that move the share that is most salient."""
        if self.salience == "attention":
            strength = received_attention(clip)
        else:
            mean = clip.features.mean(dim=0, keepdim=True)
            strength = cosine_distance(clip.features, mean)
        count = ceil(int(is_moving.sum()) * ratio)
        return by_strength(strength.masked_fill(~is_moving, -torch.inf))[:count]

    def _with_static(
        self, clips: Sequence[VisualTokens], first: KeptTokens, cells: Tensor, ratio: float
    ) -> KeptTokens:
        """The first clip with what stands still, `cells` int64 [S], merged over all clips."""
        shown = mean_of([clip.features for clip in clips], cells)
        owner = density_peaks(shown, num_kept(len(cells), ratio))
        centres = (owner == torch.arange(len(owner), device=owner.device)).nonzero().flatten()
        rows = torch.cat([first.indices, cells[centres]])
        kept = keep_rows(clips[0], rows)
        at = torch.searchsorted(kept.indices, cells[centres])
        num_members = torch.bincount(owner, minlength=len(owner))[centres]
        weight = kept.weight.index_copy(0, at, (num_members * len(clips)).to(kept.weight))
        merged = self._merged(shown, owner, centres).to(kept.features)
        features = kept.features.index_copy(0, at, merged)
        deepstack = kept.deepstack
        if deepstack is not None:
            deepstack = deepstack.clone()
            for number in range(len(deepstack)):
                maps = [each.deepstack[number] for each in clips if each.deepstack is not None]
                merged = self._merged(mean_of(maps, cells), owner, centres)
                deepstack[number, at] = merged.to(deepstack)
        return replace(kept, features=features, weight=weight, deepstack=deepstack)

    def _merged(self, rows: Tensor, owner: Tensor, centres: Tensor) -> Tensor:
        """float32 [K,D]: each centre with those that join it; alone it stays as it is."""
        joins = owner != torch.arange(len(owner), device=owner.device)
        sums = torch.zeros_like(rows).index_add(0, owner[joins], rows[joins])[centres]
        count = torch.bincount(owner[joins], minlength=len(owner))[centres][:, None]
        mixed = self.centre_weight * rows[centres] + (1 - self.centre_weight) * sums / count
        return torch.where(count > 0, mixed, rows[centres])
