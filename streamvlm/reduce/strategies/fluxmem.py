"""Keep what differs from the clip before or the one behind; join what is alike beside each other.

After "FluxMem: Adaptive Hierarchical Memory for Streaming Video Understanding" (2026, arXiv
2603.02096): temporal adjacency selection, then spatial domain consolidation. There a clip passes
from tier to tier and is thinned at each; here both steps are taken once, when the clip leaves the
fresh window, whose oldest clip is the one behind. Of what stands still the newest copy stays.
Thresholds are Otsu's, anew for each clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import ReductionContext, Signal
from streamvlm.reduce.clustering import components
from streamvlm.reduce.ops import (
    by_strength,
    cosine_distance,
    first_highest,
    group_means,
    in_steps,
    keep_rows,
    merge_rows,
    neighbour_distance,
)
from streamvlm.types import KeptTokens, VisualTokens

_NUM_BINS = 128
_NO_SPLIT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxMem:
    """Keep what changes, merged within the clip; a cap keeps the most changed."""

    about: ClassVar[About] = About(
        title="FluxMem: Adaptive Hierarchical Memory for Streaming Video Understanding",
        year=2026,
        arxiv="2603.02096",
        kind="merge",
        lag_clips=1,
        cost="O(ND)",
        licence="Apache-2.0",
        substitution="Both steps at once where a clip leaves the fresh window, in place of one at "
        "each of two tiers: the same tokens of what is old, and none is thinned twice.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    threshold: Annotated[float, Ge(0), Le(2)] = 0.2
    """A cell that is nearer than this to the clip behind is left to that one."""
    merge: bool = True
    """Whether cells beside each other become one."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep what changed; all where there is no clip around to compare with."""
        around = [
            neighbour_distance(tokens.features, clip.features, tokens.grid_thw)
            for clip in (context.previous, context.following)
            if clip is not None and clip.grid_thw == tokens.grid_thw
        ]
        keep = torch.ones(len(tokens), dtype=torch.bool, device=tokens.features.device)
        if around and len(tokens):
            keep = torch.stack([distance >= otsu(distance)[0] for distance in around]).any(dim=0)
        if context.following is not None and context.following.grid_thw == tokens.grid_thw:
            keep = keep & (around[-1] >= self.threshold)
        if context.max_kept is not None:
            strength = torch.stack(around).amax(dim=0) if around else keep.float()
            rows = by_strength(strength.masked_fill(~keep, -1.0))[: int(keep.sum())]
            return keep_rows(tokens, rows[: context.max_kept])
        rows = torch.arange(len(tokens), device=keep.device)
        owner = torch.where(keep, rows, -1)
        return merge_rows(tokens, _joined(tokens, owner) if self.merge else owner)


def otsu(values: Tensor) -> tuple[Tensor, Tensor]:
    """(float [], bool []) of distances float [n], n > 0: the threshold that separates them best in
    two classes, and whether there are two; else their median.
    """
    wide = values.float()
    bins = (wide * (_NUM_BINS / 2)).long().clamp(0, _NUM_BINS - 1)
    share = torch.bincount(bins, minlength=_NUM_BINS).float() / len(wide)
    centres = (torch.arange(_NUM_BINS, device=wide.device) + 0.5) * (2 / _NUM_BINS)
    below, moment = share.cumsum(0), (share * centres).cumsum(0)
    between = (moment[-1] * below - moment).square() / (below * (1 - below)).clamp_min(_NO_SPLIT)
    at = first_highest(between)
    is_split = between[at] > _NO_SPLIT
    return torch.where(is_split, centres[at], wide.median()), is_split


def _joined(tokens: VisualTokens, owner: Tensor) -> Tensor:
    """The owner, int64 [N], where neighbours that are alike belong to one of them."""
    left, right = _edges(tokens.grid_thw, owner >= 0)
    if not len(left):
        return owner
    distance = cosine_distance(tokens.features[left], tokens.features[right])
    threshold, is_split = otsu(distance)
    is_joined = (distance <= threshold) & is_split
    label = components(left[is_joined], right[is_joined], len(owner))
    kept = (owner >= 0).nonzero().flatten()
    groups, group = label[kept].unique(return_inverse=True)
    weight = torch.bincount(group, minlength=len(groups)).float()
    features = tokens.features[kept].float()
    far = cosine_distance(features, group_means(features, group, weight)[group])
    # The member nearest to the mean stands for its group, of equally near ones the first.
    order = by_strength(-in_steps(far))
    first = torch.full((len(groups),), len(order), dtype=torch.int64, device=owner.device)
    rank = torch.arange(len(order), device=owner.device)
    first = first.scatter_reduce(0, group[order], rank, "amin")
    return owner.index_copy(0, kept, kept[order[first]][group])


def _edges(grid_thw: tuple[int, int, int], keep: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of kept cells that touch, each pair once: int64 [E] and [E]."""
    index = torch.arange(len(keep), device=keep.device).view(grid_thw)
    lefts, rights = [], []
    for down, across in product((0, 1), (-1, 0, 1)):
        if (down, across) not in ((0, 1), (1, -1), (1, 0), (1, 1)):
            continue
        rows, columns = grid_thw[1] - down, grid_thw[2] - abs(across)
        start = max(0, -across)
        here = index[:, :rows, start : start + columns]
        there = index[:, down:, start + across : start + across + columns]
        lefts.append(here.flatten())
        rights.append(there.flatten())
    left, right = torch.cat(lefts), torch.cat(rights)
    is_kept = keep[left] & keep[right]
    return left[is_kept], right[is_kept]
