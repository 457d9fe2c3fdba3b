"""Holistic merging: what a segment shows again and again becomes one token, at a real place.

After HoliTom (2025, arXiv 2505.21334): cells that stand still for a whole segment are kept once,
and of those alike ones are merged by density peaks. There the mean of a cell stands where its first
one stood, and a segment may lose its whole background; here a member stands for the others, the one
nearest to their mean unless `average` is asked for, and at least one token stays.

A segment of T clips of N cells is one list of T x N rows. Which row stands for which is its owner,
int64 [T,N]: a row of the same list, -1 where nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from streamvlm.reduce.base import num_kept
from streamvlm.reduce.clustering import density_peaks
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import (
    cosine_distance,
    first_highest,
    group_means,
    marked_rows,
    take_rows,
)
from streamvlm.types import KeptTokens, VisualTokens


def own_rows(kept: Sequence[Tensor], num_cells: int) -> Tensor:
    """The owner where the rows of each clip that are kept, int64 [K], stand for themselves."""
    rows = torch.cat([each + number * num_cells for number, each in enumerate(kept)])
    owner = torch.full((len(kept) * num_cells,), -1, dtype=torch.int64, device=rows.device)
    return owner.index_copy_(0, rows, rows).view(len(kept), num_cells)


def standing_rows(owner: Tensor) -> Tensor:
    """bool [T,N]: those that stand for themselves, and for others where any joined them."""
    return owner == torch.arange(owner.numel(), device=owner.device).view_as(owner)


def join_static(
    features: Sequence[Tensor], owner: Tensor, is_static: Tensor, *, into_first: bool = False
) -> Tensor:
    """Rows of the same static cell join the one nearest to their mean, or the first: `features`
    float [N,D] of each clip, `is_static` bool [N].
    """
    is_kept = owner >= 0
    is_joined = is_static & (is_kept.sum(dim=0) > 1)
    ((num_joined,),) = read(is_joined.sum())
    if not num_joined:
        return owner
    cells = marked_rows(is_joined, int(num_joined))  # [S]
    kept = is_kept.index_select(1, cells)  # [T,S]
    if into_first:
        first = kept.byte().argmax(dim=0)
        return owner.index_copy(1, cells, torch.where(kept, first * owner.shape[1] + cells, -1))
    shown = torch.stack([each.index_select(0, cells) for each in features]).float()  # [T,S,D]
    mean = (shown * kept[..., None]).sum(dim=0) / kept.sum(dim=0)[:, None]
    distance = cosine_distance(shown.flatten(0, 1), mean.repeat(len(shown), 1)).view_as(kept)
    nearest = first_highest(-distance.masked_fill(~kept, torch.inf).T)  # [S]
    joined = torch.where(kept, nearest * owner.shape[1] + cells, -1)
    return owner.index_copy(1, cells, joined)


def join_background(
    features: Sequence[Tensor], owner: Tensor, is_static: Tensor, keep_ratio: float
) -> Tensor:
    """Of the static rows that stand for themselves a share stays, the density peaks; the others
    join the nearest of these.
    """
    rows = torch.arange(owner.numel(), device=owner.device)
    stands = (standing_rows(owner) & is_static).flatten()
    ((num_standing,),) = read(stands.sum())
    standing = marked_rows(stands, int(num_standing))
    count = num_kept(len(standing), keep_ratio)
    if count == len(standing):
        return owner
    into = density_peaks(torch.cat(list(features)).index_select(0, standing), count)
    joins = rows.index_copy(0, standing, standing[into])
    return torch.where(owner >= 0, joins[owner.clamp_min(0)], -1)


def collect(
    clips: Sequence[VisualTokens], owner: Tensor, counts: Sequence[int], *, average: bool = False
) -> list[KeptTokens]:
    """What is left of each clip, of which so many rows stand for themselves. A row's weight is how
    many it stands for, itself included; with `average` it is their mean.
    """
    stands = standing_rows(owner)
    num_rows = owner.numel()
    # Rows that nothing is kept of join a row behind the last one.
    joined = torch.where(owner >= 0, owner, num_rows).flatten()
    weight = torch.zeros(num_rows + 1, device=owner.device)
    weight = weight.index_add_(0, joined, torch.ones_like(weight[:-1]))[:-1].view_as(owner)
    collected = []
    for number, (clip, count) in enumerate(zip(clips, counts, strict=True)):
        kept = take_rows(clip, marked_rows(stands[number], count))
        collected.append(replace(kept, weight=weight[number].index_select(0, kept.indices)))
    return _averaged(clips, joined, collected) if average else collected


def gather(
    clips: Sequence[VisualTokens], owner: Tensor, *, average: bool = False
) -> list[KeptTokens]:
    """`collect` where nobody knows yet how many rows stand: the host waits for it."""
    (counts,) = read(standing_rows(owner).sum(dim=1))
    return collect(clips, owner, [int(count) for count in counts], average=average)


def weigh(averaged: KeptTokens, clip: VisualTokens, own_weight: float) -> KeptTokens:
    """Means that `collect` gave of a clip, weighed: the row where one stands counts `own_weight`,
    those that joined it share the rest. A row that nothing joined stays.
    """
    joined = averaged.weight > 1
    # The mean of w rows is a w-th own one: this takes the mean of the w - 1 others.
    towards = (1 - own_weight) * averaged.weight / (averaged.weight - 1).clamp_min(1)

    def weighed(means: Tensor, rows: Tensor) -> Tensor:
        wide = torch.promote_types(rows.dtype, torch.float32)
        own = rows.index_select(-2, averaged.indices).to(wide)
        mixed = own + towards[:, None].to(wide) * (means.to(wide) - own)
        return torch.where(joined[:, None], mixed.to(rows.dtype), means)

    maps = averaged.deepstack
    return replace(
        averaged,
        features=weighed(averaged.features, clip.features),
        deepstack=maps if clip.deepstack is None or maps is None else weighed(maps, clip.deepstack),
    )


def mean_of(clips: Sequence[Tensor], cells: Tensor) -> Tensor:
    """[S,D] in float32 at least: the mean over clips, each [N,D], of these cells."""
    wide = torch.promote_types(clips[0].dtype, torch.float32)
    return torch.stack([clip[cells].to(wide) for clip in clips]).mean(dim=0)


def _averaged(
    clips: Sequence[VisualTokens], joined: Tensor, kept: Sequence[KeptTokens]
) -> list[KeptTokens]:
    num_cells, sizes = len(clips[0]), [len(each) for each in kept]
    standing = torch.cat([each.indices + number * num_cells for number, each in enumerate(kept)])
    group = torch.searchsorted(standing, joined)
    weight = torch.cat([*(each.weight for each in kept), standing.new_ones(1)])

    def means(rows: Tensor) -> list[Tensor]:
        """Of [T*N,D], those of each clip."""
        return list(group_means(rows, group, weight)[:-1].split(sizes))

    features = means(torch.cat([clip.features for clip in clips]))
    averaged = [replace(each, features=own) for each, own in zip(kept, features, strict=True)]
    if clips[0].deepstack is None:
        return averaged
    maps = torch.cat([clip.deepstack for clip in clips if clip.deepstack is not None], dim=1)
    layers = zip(*(means(each) for each in maps), strict=True)
    return [
        replace(each, deepstack=torch.stack(own))
        for each, own in zip(averaged, layers, strict=True)
    ]
