"""Half of what is kept is what the tower looks at, half is what is left when near-copies go.

After VisPruner, "Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning
in VLMs" (2024, arXiv 2412.01818, the later name of FasterVLM's paper). What is not among the most
attended goes through rounds: every second row looks for its most alike among the others, and the
eight that found the most alike ones leave.

The rows of the first round are in order of attention, and those of each later one in the order that
the round before left, as in the authors' code; a port of Tencent's (AngelSlim) keeps them in raster
order, and what it keeps differs much. The authors' code fails where an odd number of rows takes
part, or fewer than eight can leave; here the first half is the larger one, and all of it may leave.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens

_LEAVE_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class VisPruner:
    """Keep a fixed share of each clip: the most attended tokens, and others that differ."""

    about: ClassVar[About] = About(
        title="Beyond Text-Visual Attention: Exploiting Visual Cues for Effective Token Pruning "
        "in VLMs",
        year=2024,
        arxiv="2412.01818",
        kind="prune",
        cost="O(N^2 D + N^3)",
        licence="Apache-2.0",
        substitution="The attention that a token receives of all others stands for that of the "
        "class token, which the towers of Qwen have not; likeness is of the merged tokens, not of "
        "the tower's patches.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    attended_share: Annotated[float, Ge(0), Le(1)] = 0.5
    """Of what is kept, rounded down; the rest is what differs."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        num_attended = int(count * self.attended_share)
        rows = by_strength(received_attention(tokens))
        others = _different(tokens.features, rows[num_attended:], count - num_attended)
        return keep_rows(tokens, torch.cat([rows[:num_attended], others]))


def _different(features: Tensor, rows: Tensor, count: int) -> Tensor:
    """int64 [count] of `rows`, int64 [M], of features [N,D]: what is left when copies leave."""
    if not count:
        return rows[:0]
    unit = directions(features)
    cosine = in_steps(unit @ unit.T)
    while len(rows) > count:
        looking, staying = rows[0::2], rows[1::2]
        alike = cosine[looking][:, staying].amax(dim=1)
        num_leaving = min(_LEAVE_AT_ONCE, len(looking), len(rows) - count)
        rows = torch.cat([looking[by_strength(alike)[num_leaving:]], staying])
    return rows
