"""Drop copies of what is more important, then keep what the others point at: weighted page rank.

After "Zero-TPrune: Zero-Shot Token Pruning through Leveraging of the Attention Graph in Pre-Trained
Transformers" (2023, arXiv 2305.17328), in its three stages: one round of page rank splits the rows
in two halves (I'), those of the lesser half that are most alike to one of the other half go (S),
and many rounds among the rest say what stays (I). The paper prunes inside a tower, a little in
every layer; here all goes at once, and `copies_share` says how much of it at S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from streamvlm.about import About
from streamvlm.reduce.base import KeepRatio, ReductionContext, Signal, num_kept
from streamvlm.reduce.graph import handed_on
from streamvlm.reduce.ops import by_strength, directions, in_steps, keep_rows, scaled
from streamvlm.reduce.salience import received_attention
from streamvlm.types import KeptTokens, VisualTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroTPrune:
    """Keep a fixed share of each clip: no copies, and what most attention comes to in the end."""

    about: ClassVar[About] = About(
        title="Zero-TPrune: Zero-Shot Token Pruning through Leveraging of the Attention Graph in "
        "Pre-Trained Transformers",
        year=2023,
        arxiv="2305.17328",
        kind="prune",
        cost="O(N^2 D)",
        substitution="The attention that tokens receive is the first round of the rank, as each "
        "starts with the same; for further rounds a softmax over the cosines of the features "
        "stands for the attention matrix, which the tower does not tell: what is alike attends to "
        "each other. It is one head, so nothing is left of how the paper filters and joins heads; "
        "likeness is of features, not of keys.",
    )
    needs: ClassVar[frozenset[Signal]] = frozenset({"salience"})
    keep_ratio: KeepRatio = 0.25
    copies_share: Annotated[float, Ge(0), Le(1)] = 0.5
    """Of all that goes, what goes as a copy; at most half of the clip does."""
    temperature: Annotated[float, Gt(0)] = 0.1
    """Of the softmax that stands for attention."""
    num_steps: Annotated[int, Ge(0)] = 5
    """Further rounds; the paper takes 5 to 10 in middle layers and 1 in late ones."""

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep `num_kept` tokens."""
        count = num_kept(len(tokens), self.keep_ratio, context.max_kept)
        rows, rank = directions(tokens.features), received_attention(tokens)
        num_copies = int(self.copies_share * (len(tokens) - count) + 0.5)
        left = _without_copies(rows, rank, min(num_copies, len(tokens) // 2))
        links = rows[left] @ rows[left].T / self.temperature
        rank = handed_on(rank[left].to(links.dtype), links, num_steps=self.num_steps)
        return keep_rows(tokens, left[by_strength(in_steps(scaled(rank)))[:count]])


def _without_copies(rows: Tensor, rank: Tensor, num_copies: int) -> Tensor:
    """int64 [N - num_copies], in order: all rows but those of the lower half by rank, float [N],
    that are most alike to one of the upper half; of equally alike ones the lowest by rank.
    """
    if not num_copies:
        return torch.arange(len(rows), device=rows.device)
    order = by_strength(in_steps(scaled(rank)))
    num_upper = len(order) - len(order) // 2
    upper, lower = order[:num_upper], order[num_upper:]
    alike = (rows[lower] @ rows[upper].T).amax(dim=1)
    others = by_strength(-in_steps(alike))[: len(lower) - num_copies]
    return torch.cat([upper, lower[others]]).sort().values
