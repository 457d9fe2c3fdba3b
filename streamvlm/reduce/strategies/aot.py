"""Anchors take in what is like them: optimal transport within a clip, then from clip to clip.

After "Token Reduction via Local and Global Contexts Optimization for Efficient Video Large Language
Models" (AOT, 2026, arXiv 2603.01400). Within a clip every token is carried to anchors. Of a segment
the anchors of the first clip take in, clip by clip, what is clearly theirs; what is spread over
many of them stays. There the anchors come twice, before and after, and both stages decide how much
is kept; here they come once, as they are in the end, and their number makes the sum a fixed share.
Not checked: that the nearest anchor is that of the least cost, that only other tokens than anchors
are carried, that both stages have one temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, exp
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.anchors import anchor_rows
from streamvlm.reduce.base import KeepRatio, Signal, num_kept
from streamvlm.reduce.holistic import collect
from streamvlm.reduce.ops import by_strength, directions, first_highest, in_steps
from streamvlm.reduce.salience import received_attention
from streamvlm.reduce.segment import Segment
from streamvlm.reduce.stream import BySegment, StreamReduction
from streamvlm.reduce.transport import transport
from streamvlm.reduce.window import WindowSegmenter
from streamvlm.types import KeptTokens, VisualTokens

_PLACE, _NEAR, _FADING = 0.5, 0.1, 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Merged:
    """What is left of one clip."""

    rows: Tensor
    """int64 [A], in order: where the anchors stand."""
    maps: Tensor
    """float [1+Z,A,D]: what they show, features first and then deepstack."""
    owner: Tensor
    """int64 [N]: the anchor that each row is nearest to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AOT:
    """Merges each segment to a fixed share."""

    about: ClassVar[About] = About(
        title="Token Reduction via Local and Global Contexts Optimization for Efficient Video Large"
        " Language Models",
        year=2026,
        arxiv="2603.01400",
        kind="merge",
        lag_clips=3,
        cost="O(N A D + 100 N A), A anchors",
        substitution="One attention stands for those of an early and a late layer: windows still"
        " make half of the anchors local, the others are the best of the picture.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    segment_clips: Annotated[int, Ge(1)] = 4
    staying: Annotated[float, Gt(0), Le(1)] = 0.4
    """Share of a later clip's anchors that the first clip's do not take in."""

    def open(self) -> StreamReduction:
        """That of a stream which has seen nothing."""
        new_segmenter = partial(WindowSegmenter, max_clips=self.segment_clips)
        return BySegment(new_segmenter, self.reduce, self.owners)

    def reduce(self, clips: Sequence[VisualTokens], segment: Segment) -> list[KeptTokens]:
        """What is left of each clip of a segment."""
        owner, shown = self._aggregated(clips)
        kept = collect(clips, owner, [maps.shape[1] for maps in shown])
        return [_showing(each, maps) for each, maps in zip(kept, shown, strict=True)]

    def owners(self, clips: Sequence[VisualTokens], segment: Segment) -> Tensor:
        """int64 [T,N], as in `holistic`: the anchor that takes in most of each row."""
        return self._aggregated(clips)[0]

    def _aggregated(self, clips: Sequence[VisualTokens]) -> tuple[Tensor, list[Tensor]]:
        """The owners, and what the rows show that stand for themselves in each clip."""
        num_cells = len(clips[0])
        num_anchors, counts = self._counts(len(clips), num_cells)
        first, *later = [_within(clip, num_anchors) for clip in clips]
        owner, anchors, shown = [first.owner], first.maps, []
        for number, (each, count) in enumerate(zip(later, counts, strict=True), start=1):
            into = torch.arange(num_cells, device=first.rows.device) + number * num_cells
            stays = torch.arange(num_anchors, device=first.rows.device)
            if count < num_anchors:
                share = _shares(each.maps[0], anchors[0], number)
                order = by_strength(in_steps(-share.amax(dim=1) * num_anchors))
                stays, goes = order[:count].sort().values, order[count:]
                flow = share[goes]
                taken = anchors + flow.T @ each.maps[:, goes]
                anchors = taken / (1 + flow.sum(dim=0)[:, None])
                into[each.rows[goes]] = first.rows[first_highest(flow * num_anchors)]
            owner.append(into[each.owner])
            shown.append(each.maps[:, stays])
        return torch.stack(owner), [anchors, *shown]

    def _counts(self, num_clips: int, num_cells: int) -> tuple[int, list[int]]:
        """Anchors of each clip, and how many stay of each clip but the first."""
        total, later = num_kept(num_clips * num_cells, self.keep_ratio), num_clips - 1
        wanted = max(ceil(total / num_clips), int(total / (1 + later * self.staying)))
        num_anchors = min(num_cells, wanted)
        rest = total - num_anchors
        return num_anchors, [rest * (at + 1) // later - rest * at // later for at in range(later)]


def _within(clip: VisualTokens, num_anchors: int) -> _Merged:
    """Every other token of the clip carried to its anchors."""
    rows = anchor_rows(received_attention(clip), clip.cells, clip.grid_thw, num_anchors)
    deepstack = [] if clip.deepstack is None else list(clip.deepstack)
    wide = torch.promote_types(clip.features.dtype, torch.float32)
    maps = torch.stack([clip.features, *deepstack]).to(wide)
    owner = torch.arange(len(clip), device=rows.device)
    if len(rows) == len(clip):
        return _Merged(rows=rows, maps=maps, owner=owner)
    is_other = torch.ones_like(owner, dtype=torch.bool).index_fill(0, rows, False)
    others, here = is_other.nonzero().flatten(), directions(clip.features)
    place = clip.cells[:, 1:] / torch.tensor(clip.grid_thw[1:], device=rows.device)
    apart = torch.cdist(place[others], place[rows], compute_mode="donot_use_mm_for_euclid_dist")
    cost = 1 - here[others] @ here[rows].T + _PLACE * apart.to(here.dtype)
    plan, nearest = transport(cost), first_highest(-cost)
    anchors, sources = maps[:, rows], maps[:, others]
    carried = (anchors + plan.T @ sources) / (1 + plan.sum(dim=0)[:, None])
    near = anchors.index_add(1, nearest, sources)
    near = near / (1 + torch.bincount(nearest, minlength=len(rows))[:, None])
    mixed = (1 - _NEAR) * carried + _NEAR * near
    return _Merged(rows=rows, maps=mixed, owner=owner.index_copy(0, others, rows[nearest]))


def _shares(sources: Tensor, anchors: Tensor, age_clips: int) -> Tensor:
    """[S,A]: how the plan spreads each source, rows [S,D], over the anchors; a row sums to 1."""
    cost = 1 - directions(sources) @ directions(anchors).T
    fading = 1 - exp(-(age_clips**2) / (2 * _FADING**2))
    plan = transport((cost - cost.min()) * fading)
    return plan / plan.sum(dim=1, keepdim=True)


def _showing(kept: KeptTokens, maps: Tensor) -> KeptTokens:
    maps = maps.to(kept.features.dtype)
    return replace(kept, features=maps[0], deepstack=None if kept.deepstack is None else maps[1:])
