"""Keep what is salient in each scene, and let density peaks of a few clips stand for the rest.

After "FastVID: Dynamic Density Pruning for Fast Video Large Language Models" (2025, arXiv
2503.11187). It cuts a whole video where clips differ most: here a window, by its two rules. There
every row joins a peak of each anchor clip, and so counts more than once; here it joins the one most
alike of all anchors. Its rule for Qwen that a still run keeps its last clip alone is left out.
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
from streamvlm.reduce.clustering import density_peaks
from streamvlm.reduce.holistic import gather, weigh
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import (
    by_strength,
    cosine_distance,
    directions,
    first_highest,
)
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.reduce.window import WindowSegmenter
from streamvlm.types import KeptTokens, VisualTokens

_CLIPS_A_SCENE = 4
"""As many cuts are made as if each scene had so many clips ..."""
_SAME = 0.95
"""... but none between clips more alike than that."""
_ANCHOR_STEP = 4
_DENSITY_SHARE = 0.4
_NEIGHBOURS = 4
_PEAK_WEIGHT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class FastVID:
    """Keep a fixed share of each scene: salient rows as they are, and peaks that others join."""

    about: ClassVar[About] = About(
        title="FastVID: Dynamic Density Pruning for Fast Video Large Language Models",
        year=2025,
        arxiv="2503.11187",
        kind="merge",
        lag_clips=7,
        cost="O(N^2 D + kND)",
        licence="MIT",
        substitution="Scenes are cut in a window in place of a video; a row joins one peak in place"
        " of one of every anchor clip.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    similarity: Annotated[float, Ge(-1), Le(1)] = 0.84
    """Cosine between the means of two clips below which a scene ends; as for Qwen2.5-VL."""
    segment_clips: Annotated[int, Ge(1)] = 8
    """Clips of the window that is cut into scenes, and most that wait."""

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        new_segmenter = partial(WindowSegmenter, max_clips=self.segment_clips, cut=self._scenes)
        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        averaged = gather(clips, self.owners(clips, segment), average=True)
        return [weigh(kept, clip, _PEAK_WEIGHT) for kept, clip in zip(averaged, clips, strict=True)]

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], which row each one of a segment joins."""
        num_clips, num_cells = len(clips), len(clips[0])
        salient, of_anchors = self._budget(num_clips, num_cells)
        owner = torch.arange(num_clips * num_cells, device=clips[0].features.device)
        ranks = [by_strength(received_attention(clip)) for clip in clips]
        rests = [
            rank[count:].sort().values + number * num_cells
            for number, (rank, count) in enumerate(zip(ranks, salient, strict=True))
        ]
        features = torch.cat([clip.features for clip in clips])
        peaks = torch.cat(
            [owner[:0], *(_peaks(features, rests[at], n) for at, n in of_anchors.items())]
        )
        rest = torch.cat(rests)
        owner[rest] = -1
        if len(peaks):
            alike = directions(features[rest]) @ directions(features[peaks]).T
            owner[rest] = peaks[first_highest(alike)]
            owner[peaks] = peaks
        return owner.view(num_clips, num_cells)

    def _scenes(self, means: Tensor) -> list[int]:
        """How long each scene of the window is, by the mean tokens of its clips, [T,D]."""
        (distances,) = read(cosine_distance(means[1:], means[:-1]))
        alike = [round(1 - distance, 6) for distance in distances]
        num_cuts = max(1, len(means) // _CLIPS_A_SCENE) - 1
        lowest = sorted(range(len(alike)), key=alike.__getitem__)[:num_cuts]
        cuts = {at + 1 for at in lowest if alike[at] <= _SAME}
        cuts |= {at + 1 for at, each in enumerate(alike) if each < self.similarity}
        return [end - start for start, end in pairwise([0, *sorted(cuts), len(means)])]

    def _budget(self, num_clips: int, num_cells: int) -> tuple[list[int], dict[int, int]]:
        """How many salient rows each clip keeps, and how many peaks each anchor clip has: those at
        equal steps back from the last one.
        """
        count = num_kept(num_clips * num_cells, self.keep_ratio)
        anchors = range(num_clips - 1, -1, -_ANCHOR_STEP)[::-1]
        num_peaks = int(count * _DENSITY_SHARE)
        while True:
            salient = shared_out(count - num_peaks, [num_cells] * num_clips)
            room = [num_cells - salient[at] for at in anchors]
            if num_peaks <= sum(room):
                return salient, dict(zip(anchors, shared_out(num_peaks, room), strict=True))
            num_peaks -= 1


def _peaks(features: Tensor, rows: Tensor, count: int) -> Tensor:
    """int64 [count]: the density peaks among these rows of float [M,D]."""
    if not count:
        return rows[:0]
    owner = density_peaks(features[rows], count, neighbours=_NEIGHBOURS)
    return rows[owner.unique()]
