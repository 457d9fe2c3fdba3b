"""Keep the medoids of a few clips: each stands for the tokens that are nearest to it.

After "CenterCLIP: Token Clustering for Efficient Text-Video Retrieval" (2022, arXiv 2205.00823),
which clusters between two layers of a tower that is trained so; here it is behind the tower. Its
distances are rounded until clusters of two are decided by chance, and one row may be chosen twice;
here they are exact, no row is, and of equals the first counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, Signal, num_kept
from streamvlm.reduce.holistic import gather
from streamvlm.reduce.ops import first_highest, row_lengths
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.reduce.window import WindowSegmenter
from streamvlm.types import KeptTokens, VisualTokens

_MOST_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CenterCLIP:
    """Keep a fixed share of every few clips, one row of each cluster."""

    about: ClassVar[About] = About(
        title="CenterCLIP: Token Clustering for Efficient Text-Video Retrieval",
        year=2022,
        arxiv="2205.00823",
        kind="prune",
        lag_clips=3,
        cost="O(N^2 D + k N^2) a round",
        licence="CC BY-NC 4.0",
        substitution="Clusters the tokens that leave the tower instead of those inside it.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    segment_clips: Annotated[int, Ge(1)] = 4
    """Clips of a segment, and most that wait."""

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        new_segmenter = partial(WindowSegmenter, max_clips=self.segment_clips)
        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        return gather(clips, self.owners(clips, segment))

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], the medoid that each row of a segment is nearest to."""
        features = torch.cat([clip.features for clip in clips])
        count = num_kept(len(features), self.keep_ratio)
        return _medoids(features, count).view(len(clips), -1)


def _medoids(features: Tensor, count: int) -> Tensor:
    """int64 [M]: which of `count` medoids each row of float [M,D] belongs to."""
    rows = torch.arange(len(features), device=features.device)
    if count == len(features):
        return rows
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    distance = torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")
    medoids = _spread(row_lengths(wide), distance, count)
    cluster = _nearest(distance, medoids)
    for _ in range(_MOST_ROUNDS):
        is_member = cluster[:, None] == rows[:count]  # [M,K]
        cost = (distance @ is_member.to(distance)).masked_fill(~is_member, torch.inf)
        moved = first_highest(-cost.T).sort().values
        if torch.equal(moved, medoids):
            break
        medoids = moved
        cluster = _nearest(distance, medoids)
    return medoids[cluster]


def _spread(lengths: Tensor, distance: Tensor, count: int) -> Tensor:
    """int64 [K], in order: the longest row, then always the one farthest from all chosen ones (KKZ:
    Katsavounidis, Kuo and Zhang, 1994).
    """
    is_chosen = torch.zeros_like(lengths, dtype=torch.bool)
    nearest = lengths
    chosen = []
    for step in range(count):
        row = first_highest(nearest.masked_fill(is_chosen, -torch.inf)).view(1)
        is_chosen = is_chosen.index_fill(0, row, True)
        own = distance.index_select(0, row)[0]
        nearest = torch.minimum(nearest, own) if step else own
        chosen.append(row)
    return torch.cat(chosen).sort().values


def _nearest(distance: Tensor, medoids: Tensor) -> Tensor:
    """int64 [M] in [0,K): whose cluster each row is in; a medoid is in its own, even where it
    equals another.
    """
    cluster = first_highest(-distance.index_select(1, medoids))
    index = torch.arange(len(medoids), device=medoids.device)
    return cluster.index_copy(0, medoids, index)
