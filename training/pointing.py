"""Where to look: which visual tokens an answer is found in, a dense loss on attention.

That a question can be looked up, and where, is what a small model finds out last. In two layers
behind the middle one head of each is therefore told: what says the answer attends to the tokens of
the thing that the question is about, in the clip that it is about.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.batch import Batch
from training.shared_attention import Attended

LAYERS = (3, 4)
"""One a hop, counted from 0."""
_HEAD = 0
_ARRIVAL_LAYER = 1
_EARLIER_LAYER = 2
_ARRIVAL_HEAD = 1
_ARRIVALS = 256
"""How many tokens of a row are told where their thing arrived, at most."""


def pointing_loss(attended: Attended, batch: Batch) -> tuple[Tensor, float]:
    """The loss, and the share of attention that goes where it should."""
    row, column = batch.is_target.nonzero(as_tuple=True)
    wanted = batch.evidence[row, batch.part[row, column] - 1]
    is_told = wanted.any(dim=2).all(dim=1)
    row, column, wanted = row[is_told], column[is_told], wanted[is_told]
    seen = batch.mask[row, 0, column - batch.num_shared]
    losses, shares = [], []
    for hop, layer in enumerate(LAYERS):
        query, key = attended[layer]
        asking = query[row, _HEAD, column].float() * query.shape[-1] ** -0.5
        logits = asking.new_empty(len(row), key.shape[2])
        for number in range(key.shape[0]):
            own = row == number
            logits[own] = asking[own] @ key[number, _HEAD].float().T
        weights = logits.masked_fill(~seen, -torch.inf).log_softmax(dim=1)[:, : batch.num_shared]
        there = weights.masked_fill(~wanted[:, hop], -torch.inf).logsumexp(dim=1)
        losses.append(-there.mean())
        shares.append(float(there.detach().exp().mean()))
    return torch.stack(losses).mean(), sum(shares) / len(shares)


def arrival_pointing_loss(attended: Attended, batch: Batch) -> tuple[Tensor, float, float]:
    """The same for the visual tokens themselves: each attends to its thing as it arrived, and what
    arrives to what had arrived before. The loss and the share of either.
    """
    own, own_share = _between_visits(attended[_ARRIVAL_LAYER], batch, batch.visits)
    earlier, earlier_share = _between_visits(attended[_EARLIER_LAYER], batch, batch.earlier)
    return own + earlier, own_share, earlier_share


def _between_visits(
    attended: tuple[Tensor, Tensor], batch: Batch, visits: Tensor
) -> tuple[Tensor, float]:
    """Tokens attend to the arrivals of these visits, int64 [B, S]; -1 is told nothing."""
    losses = []
    for row, (query, key) in enumerate(zip(*attended, strict=True)):
        column = (visits[row] >= 0).nonzero()[:, 0]
        column = column[:: 1 + len(column) // _ARRIVALS]
        is_same = batch.visits[row] == visits[row, column][:, None]
        wanted = is_same & batch.is_arrival[row]
        is_told = wanted.any(dim=1)
        column, wanted = column[is_told], wanted[is_told]
        asking = query[_ARRIVAL_HEAD, column].float() * query.shape[-1] ** -0.5
        logits = asking @ key[_ARRIVAL_HEAD, : batch.num_shared].float().T
        order = torch.arange(batch.num_shared, device=column.device)
        weights = logits.masked_fill(order > column[:, None], -torch.inf).log_softmax(dim=1)
        losses.append(-weights.masked_fill(~wanted, -torch.inf).logsumexp(dim=1))
    found = torch.cat(losses)
    if not len(found):
        return query.new_zeros(()), float("nan")
    return found.mean(), float(found.detach().neg().exp().mean())
