"""Give every part of the picture a budget by how much it is looked at, and keep its best tokens.

After HoloV, "Don't Just Chase Highlighted Tokens in MLLMs: Revisiting Visual Holistic Context
Retention" (2025, arXiv 2510.02912), by its authors' code: the clip in raster order is cut into
crops of equal length; a crop's budget is in proportion to the mean score of its tokens, what is
over by rounding goes to the best crops, and inside a crop attention decides.

A token's score there is its attention, and 0.09 times the variance of its likeness to the others of
its crop, which is scaled to have the crop's mean of attention. So the mean score of any crop is
1.09 times its mean attention, and the variance decides nothing: it is left out here. Where a crop's
budget exceeds its length, there the rest is lost and zero vectors stand for it; here the other
crops share it in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.host import read
from streamvlm.reduce.ops import by_strength, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens

_PLACES = 6
"""To which shares are compared: equal ones may differ by rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoloV:
    """Keep a fixed share of each clip, spread over its crops."""

    about: ClassVar[About] = About(
        title='Don\'t Just Chase "Highlighted Tokens" in MLLMs: Revisiting Visual Holistic '
        "Context Retention",
        year=2025,
        arxiv="2510.02912",
        kind="prune",
        cost="O(N log N)",
        licence="Apache-2.0",
        substitution="The attention that a token receives of all others stands for that of the "
        "class token, which the towers of Qwen have not; crops share a budget by it all the same.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    num_crops: Annotated[int, Ge(1)] = 16
    """No more than there are tokens."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        rows = torch.arange(len(tokens), device=tokens.features.device)
        num_crops = max(1, min(self.num_crops, len(tokens)))
        crops = received_attention(tokens).tensor_split(num_crops)
        (weights,) = read(torch.stack([crop.mean() for crop in crops]))
        budgets = _budgets(weights, list(map(len, crops)), count)
        kept = [
            places[by_strength(crop)[:budget]]
            for places, crop, budget in zip(
                rows.tensor_split(num_crops), crops, budgets, strict=True
            )
        ]
        return keep_rows(tokens, torch.cat(kept))


def _budgets(weights: Sequence[float], sizes: Sequence[int], count: int) -> list[int]:
    """How many of `count` tokens each crop keeps, by its weight and at most its size."""
    budgets = [0] * len(sizes)
    while left := count - sum(budgets):
        # What a crop cannot take is shared by those with room in the next turn.
        with_room = [crop for crop, size in enumerate(sizes) if budgets[crop] < size]
        total = sum(weights[crop] for crop in with_room)
        share = {
            crop: round(left * weights[crop] / total, _PLACES) if total else 0.0
            for crop in with_room
        }
        given = {crop: floor(share[crop]) for crop in with_room}
        over = left - sum(given.values())
        for crop in sorted(with_room, key=lambda crop: -share[crop])[:over]:
            given[crop] += 1
        for crop, number in given.items():
            budgets[crop] = min(sizes[crop], budgets[crop] + number)
    return budgets
