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
from streamvlm.reduce.ops import cosine_distance, first_highest, group_means, keep_rows
from streamvlm.types import KeptTokens, VisualTokens


def own_all(keep: Tensor) -> Tensor:
    """The owner where each row of `keep`, bool [T,N], stands for itself."""
    rows = torch.arange(keep.numel(), device=keep.device).view_as(keep)
    return torch.where(keep, rows, -1)


def join_static(
    features: Tensor, owner: Tensor, is_static: Tensor, *, into_first: bool = False
) -> Tensor:
    """Rows of the same static cell join the one nearest to their mean, or the first: `features`
    float [T,N,D], `is_static` bool [N].
    """
    is_kept = owner >= 0
    cells = (is_static & (is_kept.sum(dim=0) > 1)).nonzero().flatten()  # [S]
    kept = is_kept[:, cells]  # [T,S]
    if into_first:
        first = kept.byte().argmax(dim=0)
        return owner.index_copy(1, cells, torch.where(kept, first * owner.shape[1] + cells, -1))
    shown = features[:, cells].float()  # [T,S,D]
    mean = (shown * kept[..., None]).sum(dim=0) / kept.sum(dim=0)[:, None]
    distance = cosine_distance(shown.flatten(0, 1), mean.repeat(len(shown), 1)).view_as(kept)
    nearest = first_highest(-distance.masked_fill(~kept, torch.inf).T)  # [S]
    joined = torch.where(kept, nearest * owner.shape[1] + cells, -1)
    return owner.index_copy(1, cells, joined)


def join_background(
    features: Tensor, owner: Tensor, is_static: Tensor, keep_ratio: float
) -> Tensor:
    """Of the static rows that stand for themselves a share stays, the density peaks; the others
    join the nearest of these.
    """
    rows = torch.arange(owner.numel(), device=owner.device)
    stands = (owner.flatten() == rows) & is_static.repeat(len(owner))
    standing = stands.nonzero().flatten()
    count = num_kept(len(standing), keep_ratio)
    if count == len(standing):
        return owner
    into = density_peaks(features.flatten(0, 1)[standing], count)
    joins = rows.index_copy(0, standing, standing[into])
    return torch.where(owner >= 0, joins[owner.clamp_min(0)], -1)


def collect(
    clips: Sequence[VisualTokens], owner: Tensor, *, average: bool = False
) -> list[KeptTokens]:
    """What is left of each clip. A row's weight is how many it stands for, itself included; with
    `average` it is their mean.
    """
    rows = torch.arange(owner.numel(), device=owner.device).view_as(owner)
    members = (owner >= 0).flatten().nonzero().flatten()
    weight = torch.zeros(owner.numel(), device=owner.device)
    weight = weight.index_add(0, owner.flatten()[members], torch.ones_like(weight[members]))
    collected = []
    for number, clip in enumerate(clips):
        kept = keep_rows(clip, (owner[number] == rows[number]).nonzero().flatten())
        collected.append(replace(kept, weight=weight.view_as(owner)[number, kept.indices]))
    return _averaged(clips, owner, collected) if average else collected


def _averaged(
    clips: Sequence[VisualTokens], owner: Tensor, kept: Sequence[KeptTokens]
) -> list[KeptTokens]:
    members = (owner >= 0).flatten().nonzero().flatten()
    num_cells = owner.shape[1]
    standing = torch.cat([each.indices + number * num_cells for number, each in enumerate(kept)])
    group = torch.searchsorted(standing, owner.flatten()[members])
    weight = torch.cat([each.weight for each in kept])

    def means(rows: Tensor) -> list[Tensor]:
        """Of [T*N,D], those of each clip."""
        sizes = [len(each) for each in kept]
        return list(group_means(rows[members], group, weight).split(sizes))

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
