"""Rows and clips that belong together: density peaks and connected rows, runs of like clips."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from streamvlm.reduce.host import read
from streamvlm.reduce.ops import by_strength, directions


def density_peaks(rows: Tensor, count: int, *, neighbours: int = 7) -> Tensor:
    """int64 [n], `owner`: which of `count` centres each row of float [n,D] belongs to; a centre
    belongs to itself.

    Density peaks with k nearest neighbours (DPC-KNN: Du, Ding and Jia, 2016), as HoliTom (2025,
    arXiv 2505.21334) uses them. A centre is dense and far from all that is denser. Where it breaks
    ties at random, here the lower index is the denser one. `count` must be in [1, n].
    """
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    distance = torch.cdist(wide, wide, compute_mode="donot_use_mm_for_euclid_dist")
    distance = distance / rows.shape[1] ** 0.5  # [n, n]
    nearest = distance.topk(min(neighbours, len(rows)), largest=False).values
    rank = torch.empty_like(by_strength(nearest[:, 0]))
    order = by_strength(-nearest.square().mean(dim=1))
    index = torch.arange(len(rows), device=rows.device)
    rank[order] = index  # 0 is the densest
    is_denser = rank[None, :] < rank[:, None]
    to_denser = distance.masked_fill(~is_denser, torch.inf).amin(dim=1)
    apart = torch.where(rank == 0, distance.amax(), to_denser)
    density = torch.exp(-nearest.square().mean(dim=1))
    centres = by_strength(density * apart)[:count].sort().values
    owner = centres[distance[:, centres].argmin(dim=1)]
    return owner.index_copy(0, centres, centres)


def components(left: Tensor, right: Tensor, num_rows: int) -> Tensor:
    """int64 [N]: the lowest row of those that each one is connected with, by the pairs `left` and
    `right`, int64 [E] and [E].
    """
    label = torch.arange(num_rows, device=left.device)
    while True:
        lower = torch.minimum(label[left], label[right])
        lowered = label.scatter_reduce(0, left, lower, "amin").scatter_reduce(
            0, right, lower, "amin"
        )
        lowered = lowered[lowered]
        if torch.equal(lowered, label):
            return label
        label = lowered


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """Clips that follow each other and are alike."""

    first_clip: int
    num_clips: int
    mean: Tensor
    """float [D], of the clips' descriptors."""
    key_clip: int
    """The clip that shows best what the run shows."""
    key: Tensor
    """float [D], its descriptor."""


class KeyClips:
    """At most `max_runs` runs of the clips of a stream, whatever its length: a summary in O(runs) a
    clip. Where one too many exists, the two that lose least by it become one.

    After the keyframe clustering of KTV (2026, arXiv 2602.03615), which clusters the whole video by
    k-means; a run is a cluster that is one stretch of time.
    """

    def __init__(self, *, max_runs: int) -> None:
        self._max_runs = max_runs
        self.runs: list[Run] = []
        """In the order of time; together all clips."""
        self._num_clips = 0

    def push(self, features: Tensor) -> None:
        """One more clip, float [N,D]: its descriptor is the direction of the mean of its tokens."""
        descriptor = directions(features.mean(dim=0, keepdim=True))[0]
        clip, self._num_clips = self._num_clips, self._num_clips + 1
        self.runs.append(
            Run(first_clip=clip, num_clips=1, mean=descriptor, key_clip=clip, key=descriptor)
        )
        if len(self.runs) > self._max_runs:
            costs = torch.stack([_cost(*pair) for pair in pairwise(self.runs)])
            at = int(read(costs.argmin())[0][0])
            self.runs[at : at + 2] = [_joined(*self.runs[at : at + 2])]


def _cost(left: Run, right: Run) -> Tensor:
    """What is lost by making two runs one: far apart and long ones cost most."""
    apart: Tensor = torch.linalg.vector_norm(left.mean - right.mean)
    return apart * min(left.num_clips, right.num_clips)


def _joined(left: Run, right: Run) -> Run:
    num_clips = left.num_clips + right.num_clips
    mean = (left.num_clips * left.mean + right.num_clips * right.mean) / num_clips
    (apart,) = read(torch.stack([(run.key - mean).norm() for run in (left, right)]))
    key = left if apart[0] <= apart[1] else right
    return Run(
        first_clip=left.first_clip,
        num_clips=num_clips,
        mean=mean,
        key_clip=key.key_clip,
        key=key.key,
    )
