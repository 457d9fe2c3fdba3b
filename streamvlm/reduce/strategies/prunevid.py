"""Find scenes, keep of each what stands still once, and merge what is alike.

After "PruneVid: Visual Token Pruning for Efficient Video Large Language Models" (2024, arXiv
2412.16117), the part before the language model. It clusters the clips of a whole video: here those
of a window. What it merges is out of order and half of it: here a mean stands where one of its rows
stood, and the share that stays follows from `keep_ratio`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, Signal, num_kept, shared_out
from streamvlm.reduce.clustering import density_peaks
from streamvlm.reduce.holistic import gather, mean_of
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import directions
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.reduce.window import WindowSegmenter
from streamvlm.types import KeptTokens, VisualTokens

_CLIPS_A_SCENE = 4
"""As many scenes are looked for as if they had so many clips each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneVid:
    """Merge each scene down to a fixed share; less stays where more stands still than that."""

    about: ClassVar[About] = About(
        title="PruneVid: Visual Token Pruning for Efficient Video Large Language Models",
        year=2024,
        arxiv="2412.16117",
        kind="merge",
        lag_clips=7,
        cost="O(N^2 D)",
        licence="CC BY-NC-SA 4.0",
        substitution="Clips of a window are clustered in place of those of a video. What the"
        " question selects in the language model is left out: it is not known yet.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    similarity: Annotated[float, Ge(-1), Le(1)] = 0.8
    """Mean cosine of a cell between all pairs of clips, above which it stands still."""
    segment_clips: Annotated[int, Ge(1)] = 8
    """Clips of the window that is cut into scenes, and most that wait."""

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        new_segmenter = partial(WindowSegmenter, max_clips=self.segment_clips, cut=_scenes)
        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        return gather(clips, self.owners(clips, segment), average=True)

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], which row each one of a segment joins."""
        features = [clip.features for clip in clips]
        num_clips, num_cells = len(features), len(features[0])
        rows = torch.arange(num_clips * num_cells, device=features[0].device)
        count = num_kept(len(rows), self.keep_ratio)
        if count == len(rows):
            return rows.view(num_clips, num_cells)
        is_static = _is_static(features, self.similarity)
        moving, static = (~is_static).nonzero().flatten(), is_static.nonzero().flatten()
        # What stands still comes last and so is rounded up: of it something stays.
        sizes = [len(moving)] * num_clips + [len(static)]
        *of_moving, of_static = shared_out(min(count, sum(sizes)), sizes)
        owner = torch.full((num_clips, num_cells), -1, dtype=torch.int64, device=rows.device)
        for number, share in enumerate(of_moving):
            if share:
                into = moving[density_peaks(features[number][moving], share)]
                owner[number, moving] = number * num_cells + into
        if of_static:
            owner[:, static] = static[density_peaks(mean_of(features, static), of_static)]
        return owner


def _is_static(features: Sequence[Tensor], similarity: float) -> Tensor:
    """bool [N]: cells whose mean cosine between all pairs of clips, float [N,D] each, is above
    `similarity`; none of a single clip.
    """
    rows = torch.stack([directions(each) for each in features])  # [T,N,D]
    num_pairs = len(rows) * (len(rows) - 1)
    # The square of the sum has each pair twice, and each row with itself.
    cosines = rows.sum(dim=0).square().sum(dim=-1) - rows.square().sum(dim=(0, -1))
    return cosines > similarity * num_pairs if num_pairs else torch.zeros_like(cosines).bool()


def _scenes(means: Tensor) -> list[int]:
    """How long each scene of the window is, by the mean tokens of its clips, [T,D]."""
    (labels,) = read(density_peaks(means, max(1, len(means) // _CLIPS_A_SCENE)))
    return stretches([int(label) for label in labels])


def stretches(labels: Sequence[int]) -> list[int]:
    """The lengths of the stretches that clusters become: of each the longest run stays, if it has
    two clips. What is between goes to the longer of the runs beside it, the earlier of equal ones.
    """
    runs = [(label, len(list(same))) for label, same in groupby(labels)]
    longest: dict[int, int] = {}
    for label, length in runs:
        longest[label] = max(length, longest.get(label, 0))
    stays = [at for at, (label, length) in enumerate(runs) if length == longest[label] > 1]
    if not stays:
        return [len(labels)]

    def label_of(at: int) -> int:
        beside = [*(each for each in stays if each <= at)][-1:]
        if at not in beside:
            beside += [*(each for each in stays if each > at)][:1]
        return runs[max(beside, key=lambda each: runs[each][1])][0]

    joined = [label_of(at) for at, (_, length) in enumerate(runs) for _ in range(length)]
    return [len(list(same)) for _, same in groupby(joined)]
