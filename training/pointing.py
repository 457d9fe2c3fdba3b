"""Where to look: which visual tokens an answer is found in, a dense loss on attention.

That a question can be looked up, and where, is what a small model finds out last. In two layers
behind the middle one head of each is therefore told: what says the answer attends to the tokens of
the thing that the question is about, in the clip that it is about.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.batch import NONE, Batch
from training.shared_attention import Attended

LAYERS = (3, 4)
"""One a hop, counted from 0."""
_HEAD = 0
_ARRIVAL_LAYER = 1
_EARLIER_LAYER = 2
_ARRIVAL_HEAD = 1


def pointing_loss(attended: Attended, batch: Batch) -> tuple[Tensor, Tensor]:
    """The loss, and the share of attention that goes where it should; both []."""
    is_told = batch.pointing_at != NONE
    columns = batch.pointing_at.clamp_min(0)
    seen = batch.seen_from(columns)
    pairs = [
        _share(attended[layer], _HEAD, columns, seen, batch.evidence[:, :, hop], is_told)
        for hop, layer in enumerate(LAYERS)
    ]
    losses, shares = zip(*pairs, strict=True)
    return torch.stack(losses).mean(), torch.stack(shares).mean()


def arrival_pointing_loss(attended: Attended, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """The same for the visual tokens themselves: each attends to its thing as it arrived, and what
    arrives to what had arrived before. The loss and the share of either.
    """
    own, own_share = _between_visits(
        attended[_ARRIVAL_LAYER], batch, batch.visits, batch.arriving_at
    )
    earlier, earlier_share = _between_visits(
        attended[_EARLIER_LAYER], batch, batch.earlier, batch.following_at
    )
    return own + earlier, own_share, earlier_share


def _between_visits(
    layer: tuple[Tensor, Tensor], batch: Batch, visits: Tensor, told: Tensor
) -> tuple[Tensor, Tensor]:
    """These columns, int64 [B, R], attend to the arrivals of their `visits`, int64 [B, C]."""
    columns = told.clamp_min(0)
    is_same = batch.visits[:, None, :] == visits.gather(1, columns)[..., None]
    order = torch.arange(batch.num_shared, device=columns.device)
    seen = order <= columns[..., None]
    wanted = is_same & batch.is_arrival[:, None, :]
    return _share(layer, _ARRIVAL_HEAD, columns, seen, wanted, told != NONE)


def _share(
    layer: tuple[Tensor, Tensor],
    head: int,
    columns: Tensor,
    seen: Tensor,
    wanted: Tensor,
    is_told: Tensor,
) -> tuple[Tensor, Tensor]:
    """The loss of what these columns, int64 [B, T], attend to with one head, and the share that
    goes where it should. `seen` bool [B, T, S], `wanted` bool [B, T, C] with C <= S, `is_told` bool
    [B, T]: what counts.
    """
    query, key = (each[:, head].float() for each in layer)
    asking = query.gather(1, columns[..., None].expand(-1, -1, query.shape[-1]))
    logits = asking @ key[:, : seen.shape[2]].mT * query.shape[-1] ** -0.5
    weights = logits.masked_fill(~seen, -torch.inf).log_softmax(dim=2)[..., : wanted.shape[2]]
    # A column that fills up the row wants all it sees: nothing is infinite, and nothing counts.
    elsewhere = ~wanted & is_told[..., None]
    there = weights.masked_fill(elsewhere, -torch.inf).logsumexp(dim=2).masked_fill(~is_told, 0.0)
    count = is_told.sum()
    share = there.detach().exp().masked_fill(~is_told, 0.0).sum() / count  # NaN where none is told
    return -there.sum() / count.clamp_min(1), share
