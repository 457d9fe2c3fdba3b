"""Differential token dropping: drop a cell that still looks as it did when it was last kept.

After "TimeChat-Online: 80% Visual Tokens are Naturally Redundant in Streaming Videos" (2025, arXiv
2504.17343), which compares each cell with the *previous clip*, dropped cells included. There a cell
may turn by up to arccos(tau) in every clip and is never sent again: what the model holds drifts
away from the scene without bound (dawn, a slow pan, a glass that fills). Here each cell is compared
with what was last *kept* of it, so what the model holds stays within `threshold` of the scene
unless a cap forbids. New as well: scene cut, refresh, floor and cap. `compare_with="previous"` is
the published rule, drift included, for comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import ReductionContext, Signal
from streamvlm.reduce.change import ChangeRule, ClipChange, Distance, reference_of
from streamvlm.reduce.host import read, send
from streamvlm.reduce.ops import (
    by_strength,
    cosine_distance,
    ranked,
    strongest_rows,
    take_rows,
    whole_clip,
)
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class DTD:
    """Keep what changed; `context.max_kept` caps the count, the most changed cells first."""

    about: ClassVar[About] = About(
        title="TimeChat-Online: 80% Visual Tokens are Naturally Redundant in Streaming Videos",
        year=2025,
        arxiv="2504.17343",
        kind="prune",
        cost="O(ND)",
        licence="BSD-3-Clause",
        substitution="What each cell last kept in place of the clip before, which is published and "
        'stays as compare_with="previous".',
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    threshold: Distance = 0.3
    """A cell is kept when its distance exceeds this. The published tau is 1 - threshold."""
    compare_with: Literal["reference", "previous"] = "reference"
    """What each cell last kept, or the published rule: the clip before in full, cells dropped
    only if cos > tau, the first clip kept, and none of the settings below."""
    neighbourhood: Literal[1, 3] = 1
    """Cells along each side of the square in which the best match counts. 3 forgives a shaking
    camera, and hides movement of less than one cell: keep 1 to read text or to locate."""
    cut_threshold: Distance = 0.6
    """A mean distance beyond this is a scene cut: the whole clip is kept, which renews the
    reference."""
    max_age: Annotated[int, Ge(1)] = 60
    """A cell is kept again after at most this many clips, changed or not, unless the cap
    prevents it; in turn, so that no clip pays for all cells."""
    min_kept: Annotated[int, Ge(1)] = 1
    """Fewest tokens of a clip: a still scene leaves its time and place in memory."""

    def __post_init__(self) -> None:
        if self.compare_with == "reference":
            return
        for setting in fields(self):
            is_shared = setting.name in ("threshold", "compare_with")
            if not is_shared and getattr(self, setting.name) != setting.default:
                raise ValueError(f'{setting.name} has no effect with compare_with="previous"')

    @property
    def rule(self) -> ChangeRule:
        """How clips are compared."""
        return ChangeRule(
            neighbourhood=self.neighbourhood,
            cut_threshold=self.cut_threshold,
            max_age=self.max_age,
        )

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep the cells that changed; all while there is nothing of this grid to compare with."""
        return self.reduce_many([tokens], [context])[0]

    def reduce_many(
        self, clips: Sequence[VisualTokens], contexts: Sequence[ReductionContext]
    ) -> list[KeptTokens]:
        """A clip of each of several streams, of one grid: what a call of each gives, with distances
        and choice done for all in one go, and one wait for the device.
        """
        pairs = list(zip(clips, contexts, strict=True))
        if self.compare_with == "previous":
            return [self._against_previous(*pair) for pair in pairs]
        known = [reference_of(*pair) is not None for pair in pairs]
        rows = iter(
            self._against_kept(
                [pair for pair, is_known in zip(pairs, known, strict=True) if is_known]
            )
        )
        return [
            take_rows(clip, next(rows)) if is_known else whole_clip(clip, context.max_kept)
            for (clip, context), is_known in zip(pairs, known, strict=True)
        ]

    def _against_kept(self, pairs: Sequence[tuple[VisualTokens, ReductionContext]]) -> list[Tensor]:
        """int64 [K] each, in order: the rows that are kept where there is a reference."""
        references = [found for pair in pairs if (found := reference_of(*pair))]
        if not references:
            return []
        clips = [clip for clip, _ in pairs]
        distance = self.rule.distances(clips, [each.features for each in references])
        index = send([context.clip_index for _, context in pairs], distance.device).long()
        age = torch.stack([each.age for each in references])
        worth = self.rule.judge(distance, age, index[:, None], self.threshold).is_worth_keeping
        rows = by_strength(worth.byte())
        (counts,) = read(worth.sum(dim=-1))
        kept = []
        for number, (count, (_, context)) in enumerate(zip(counts, pairs, strict=True)):
            most = distance.shape[1] if context.max_kept is None else context.max_kept
            wanted = min(most, max(int(count), self.min_kept))
            if wanted == count:
                # A view would hold the rows of all streams for as long as those of one are kept.
                kept.append(rows[number, :wanted].clone())
            else:
                strongest = ranked(worth[number], distance[number])[:wanted]
                kept.append(strongest.sort().values)
        return kept

    def compare(self, tokens: VisualTokens, context: ReductionContext) -> ClipChange | None:
        """How the clip differs from what was last kept; None without anything to compare with."""
        reference = reference_of(tokens, context)
        if reference is None:
            return None
        (distance,) = self.rule.distances([tokens], [reference.features])
        return self.rule.judge(distance, reference.age, context.clip_index, self.threshold)

    def _against_previous(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        previous = context.previous
        if previous is None or previous.grid_thw != tokens.grid_thw:
            return whole_clip(tokens, context.max_kept)
        distance = cosine_distance(tokens.features, previous.features)
        # Dropped iff cos > tau, so a cell exactly at the threshold stays.
        keep = distance >= self.threshold
        rows = strongest_rows(keep, distance, at_least=0, at_most=context.max_kept)
        return take_rows(tokens, rows.sort().values)
