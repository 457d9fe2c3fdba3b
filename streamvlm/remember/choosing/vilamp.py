"""Few clips whole, every other one as a single token: mixed precision.

After "Scaling Video-Language Models to 10K Frames via Hierarchical Differential Distillation"
(ViLAMP, 2025, arXiv 2504.02438): key frames are relevant and unlike each other (a cosine of at most
0.85), every other frame is the mean of its patches by softmax((likeness to the question - likeness
to the key frame before it) / 0.01). There four projections before the likenesses, and the
temperature, are trained. Where a budget is left, the published code spreads further key frames
evenly; here the most relevant of the clips that were too alike follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from streamvlm.about import About
from streamvlm.remember.choosing.base import (
    Chosen,
    FoundTokens,
    Joined,
    in_places,
    strongest_first,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ViLAMP:
    """Key clips whole, of each other clip one mean, at the place of the token that weighs most.

    The mean is of raw keys and of values, with the same weights in all layers.
    """

    about: ClassVar[About] = About(
        title="Scaling Video-Language Models to 10K Frames via Hierarchical Differential "
        "Distillation",
        year=2025,
        arxiv="2504.02438",
        kind="merge",
        cost="O(N R + N M R), M tokens a key clip",
        substitution="Likeness is the cosine of raw keys, with the probe for the question, without "
        "the trained projections; a clip is the mean of its keys. A token is compared with the "
        "most alike one of the key clip, since reduction seldom left the one of its own cell.",
    )
    most_alike: float = 0.85
    """Cosine of two clips above which only one of them is a key clip, while others are unlike."""
    temperature: float = 0.01
    """Of the softmax; the published one starts here and is learned."""

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """Where not even one token a clip fits, the least relevant clips are left out; as many
        clips are whole as then fit, the most relevant first.
        """
        question = normalize(found.probe, dim=0)
        clips = normalize(found.clip_means(found.keys.flatten(1)), dim=1)
        order = strongest_first(in_places((clips * question).sum(dim=1)))
        costs = (found.num_text[order] + 1).cumsum(dim=0)
        order = order[costs <= max_tokens]
        left = max_tokens - int((found.num_text[order] + 1).sum())
        keys = self._key_clips(clips, order.tolist(), (found.num_visual - 1).tolist(), left)
        rows = torch.arange(len(found)).split(found.num_visual.tolist())
        directions = found.directions
        relevance = (directions * question).sum(dim=1)
        pooled = []
        for clip in sorted({*order.tolist()} - {*keys}):
            salience = relevance[rows[clip]]
            if keys:
                key = max((each for each in keys if each < clip), default=min(keys))
                salience = salience - _likeness(directions[rows[clip]], directions[rows[key]])
            pooled.append(self._mean(rows[clip], salience))
        return _chosen([rows[clip] for clip in keys], pooled)

    def _key_clips(
        self, clips: Tensor, order: Sequence[int], costs: Sequence[int], left: int
    ) -> list[int]:
        """In order: those unlike all before first, each where it fits into what is left."""
        keys: list[int] = []
        alike: list[int] = []
        for clip in order:
            likeness = (clips[keys] * clips[clip]).sum(dim=1)
            if bool((in_places(likeness) > self.most_alike).any()):
                alike.append(clip)
            elif costs[clip] <= left:
                left -= costs[clip]
                keys.append(clip)
        for clip in alike:
            if costs[clip] <= left:
                left -= costs[clip]
                keys.append(clip)
        return keys

    def _mean(self, rows: Tensor, salience: Tensor) -> Joined:
        """The tokens of a clip, int64 [n], as one."""
        heaviest = rows[strongest_first(in_places(salience))[0]]
        return Joined(
            rows=rows,
            into=heaviest.expand(len(rows)),
            shares=(salience / self.temperature).softmax(dim=0),
        )


def _likeness(directions: Tensor, key: Tensor) -> Tensor:
    """float32 [n]: the cosine of each of [n,R] to the most alike one of [M,R], M >= 1."""
    return (directions @ key.T).amax(dim=1)


def _chosen(whole: Sequence[Tensor], pooled: Sequence[Joined]) -> Chosen:
    """All of these tokens, and these means."""
    rows = torch.cat([*whole, *(each.into[:1] for each in pooled), torch.arange(0)])
    if not pooled:
        return Chosen(rows=rows)
    joined = Joined(
        rows=torch.cat([each.rows for each in pooled]),
        into=torch.cat([each.into for each in pooled]),
        shares=torch.cat([each.shares for each in pooled]),
    )
    return Chosen(rows=rows, joined=joined)
