"""Merge each clip around density peaks; a merged token keeps the positions of several members.

After "PPE: Positional Preservation Embedding for Token Compression in Multimodal Large Language
Models" (2025, arXiv 2510.22936). Taken from extracts of the paper: clusters by density peaks, whose
mean is kept; of each cluster the members nearest to its centre, and again from the first where
there are fewer; how rotary dimensions are shared out, which is `vlm.spread`. From the authors' code
(Apache-2.0): five neighbours, and eight members, the greatest common divisor of the three axes of
Qwen2.5-VL. Beyond its abstract the paper itself was not at hand; its figures are not checked.

Their code takes members in the order of the picture, since all weigh the same; here, as is written,
the nearest come first, and the centre is the peak. Not here: merging between frames of one event,
and the further rounds inside the language model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.clustering import density_peaks
from streamvlm.reduce.ops import by_strength, keep_rows, merge_rows, row_lengths
from streamvlm.types import KeptTokens, VisualTokens

_NEIGHBOURS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PPE:
    """Merge each clip down to a fixed share of its tokens."""

    about: ClassVar[About] = About(
        title="PPE: Positional Preservation Embedding for Token Compression in Multimodal Large "
        "Language Models",
        year=2025,
        arxiv="2510.22936",
        kind="merge",
        cost="O(N^2 D)",
        licence="Apache-2.0",
        substitution="Each clip is merged once, before the language model: frames of one event are "
        "not merged, nor tokens between its layers. Where eight members do not divide an axis of "
        "the model, as in Qwen3-VL, it is cut as evenly as can be.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset()
    keep_ratio: KeepRatio = 0.25
    num_members: Annotated[int, Ge(1), Le(24)] = 8
    """Positions that a merged token keeps; no axis has more than 24 pairs of frequencies."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Leave `num_kept` tokens, which stand for all; a cap of 0 leaves nothing."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        if not count:
            return keep_rows(tokens, torch.empty(0, dtype=torch.int64))
        owner = density_peaks(tokens.features, count, neighbours=_NEIGHBOURS)
        kept = merge_rows(tokens, owner)
        if count == len(tokens) or self.num_members == 1:
            return kept
        rows = _nearest(tokens.features, owner, kept, self.num_members)
        return replace(kept, members=tokens.cells[rows])


def _nearest(features: Tensor, owner: Tensor, kept: KeptTokens, num_members: int) -> Tensor:
    """int64 [K,M]: of the rows that joined each kept one the nearest to it, itself first, of equals
    the lower; and again from the first where there are fewer. `features` float [N,D].
    """
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    # Itself is first: of rows that are alike a peak is the lowest.
    order = by_strength(-row_lengths(wide - wide[owner]))
    order = order[by_strength(-owner[order])]
    size = kept.weight.long()
    first = size.cumsum(dim=0) - size
    turn = torch.arange(num_members, device=owner.device)
    return order[first[:, None] + turn % size[:, None]]
