"""Which of the candidates come back, by what the layers of the model attend to.

Layers look for different things. Shared, a block that one of them wants comes back for all; per
layer, each gets what it wants itself, at the same number of tokens (after ReKV, arXiv 2503.00540).
One pass over all candidates says it for all layers; in the paper each layer compares keys with its
queries while the question passes through, which have read what was chosen below and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from streamvlm.types import Recall


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attended:
    """Candidates, and how much is attended to them."""

    candidates: Recall
    shares: Tensor
    """float32 [L,B] cpu, in [0, 1], see `Prefilled.attention`."""
    is_sure: Tensor
    """bool [B]: these come back in any case, before all others."""

    @property
    def scores(self) -> Tensor:
        """float32 [B]: the most of all layers."""
        return self.shares.amax(dim=0)

    def best(self, num_blocks: int) -> Tensor:
        """int64 [num_blocks], ascending: of the highest scores, equal ones go to the older."""
        return _ranked(self.scores, self.is_sure)[:num_blocks].sort().values

    def taken(self, places: Tensor, by_layer: Tensor | None = None) -> Recall:
        """These of the candidates."""
        at = places.tolist()
        return Recall(
            blocks=tuple(self.candidates.blocks[place] for place in at),
            scores=tuple(self.scores[places].tolist()),
            by_layer=by_layer,
        )


Select = Callable[[Attended, int, int], Recall]
"""What was attended to, a number of blocks, and the most tokens (0: no bound) to what comes back,
oldest first."""


def shared(attended: Attended, num_blocks: int, max_tokens: int) -> Recall:
    """So many blocks of the highest scores, for all layers. Which of their tokens, where there is a
    bound, is for `remember.recall` to say.
    """
    return attended.taken(attended.best(num_blocks))


def per_layer(attended: Attended, num_blocks: int, max_tokens: int) -> Recall:
    """For each layer the blocks of its own highest shares, whole, until it has as many tokens as
    `shared` would bring, but `max_tokens` at most; of its last block the first ones that there is
    room for. What comes back is what any layer has.
    """
    lengths = torch.tensor([len(block.kv) for block in attended.candidates.blocks])
    budget = int(lengths[attended.best(num_blocks)].sum())
    if max_tokens:
        budget = min(budget, max_tokens)
    order = _ranked(attended.shares, attended.is_sure)  # [L,B]
    ordered = lengths[order]
    before = ordered.cumsum(dim=1) - ordered
    counts = torch.zeros_like(order).scatter(
        1, order, (budget - before).clamp(min=0).minimum(ordered)
    )
    places = counts.any(dim=0).nonzero()[:, 0]
    block = torch.repeat_interleave(places, lengths[places])  # [S]
    token = torch.cat([torch.arange(int(lengths[place])) for place in places])
    return attended.taken(places, token < counts[:, block])


def _ranked(shares: Tensor, is_sure: Tensor) -> Tensor:
    """int64 as `shares` float [...,B], best first; equal ones by age."""
    ranked = shares.masked_fill(is_sure, torch.inf)
    return ranked.sort(descending=True, stable=True).indices


SELECTIONS: dict[str, Select] = {"shared": shared, "per_layer": per_layer}
"""Every one by its name in the config."""
