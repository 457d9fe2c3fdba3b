"""Contexts side by side, and what a model makes of them.

All that can be counted is counted here, on a CPU: a step on a GPU never has to ask how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from streamvlm.evaluate.world.questions import TruthQuestion
from training.evidence import HOPS
from training.shared_attention import SHARED_ATTENTION, Attended
from training.writing import NO_LABEL, Context

_ROUND = 16
"""Both parts of a row are as long as a multiple of this: masks are read in such pieces."""
_ARRIVALS = 256
"""How many tokens of a row are told where their thing arrived, at most."""
NONE = -1


class Batch:
    """B contexts padded to S tokens: in every row what all questions see comes first, C tokens as
    for the longest, then the questions.
    """

    ids: Tensor
    """int64 [B, S]."""
    positions: Tensor
    """int64 [3, B, S]."""
    part: Tensor
    """int64 [B, S], as in `Context`; NONE where a row is filled up."""
    is_visual: Tensor
    """bool [B, S]."""
    visual_at: Tensor
    """int64 [V]: where the visual tokens are among B * S."""
    features: Tensor
    """float16 [V, D]."""
    deepstack: Tensor
    """float16 [Z, V, D]."""
    dense: Tensor
    """int64 [V, labels], as in `Context`."""
    answer_at: Tensor
    """int64 [A]: where the tokens are, among B * S, behind which an answer's come."""
    targets: Tensor
    """int64 [A]: what comes there."""
    answered: Tensor
    """int64 [A]: to which of `questions` that belongs."""
    pointing_at: Tensor
    """int64 [B, T]: columns of a row that are told where to look; NONE where it is filled up."""
    evidence: Tensor
    """bool [B, T, HOPS, C]: what they are told."""
    visits: Tensor
    """int64 [B, C]: which thing a token shows, or NONE."""
    earlier: Tensor
    """int64 [B, C]: of what arrives, which thing had arrived before, or NONE."""
    is_arrival: Tensor
    """bool [B, C]."""
    arriving_at: Tensor
    """int64 [B, R]: columns that are told where their thing arrived; filled up with NONE."""
    following_at: Tensor
    """int64 [B, R]: and what had arrived before."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        self.questions: list[TruthQuestion] = [q for each in contexts for q in each.questions]
        self.num_shared = _rounded(max(each.num_shared for each in contexts))
        asked = _rounded(max(len(each) - each.num_shared for each in contexts))
        shape = len(contexts), self.num_shared + asked
        self.ids = torch.zeros(shape, dtype=torch.long)
        self.positions = torch.zeros(3, *shape, dtype=torch.long)
        self.part = torch.full(shape, NONE)
        self.is_visual = torch.zeros(shape, dtype=torch.bool)
        targets = torch.full(shape, NO_LABEL)
        for row, each in enumerate(contexts):
            used = self._used(each)
            self.ids[row, used] = each.ids
            self.positions[:, row, used] = each.positions.T
            self.part[row, used] = each.part
            self.is_visual[row, used] = each.is_visual
            targets[row, used] = each.targets
        self.visual_at = self.is_visual.flatten().nonzero()[:, 0]
        self.features = torch.cat([each.features for each in contexts])
        self.deepstack = torch.cat([each.deepstack for each in contexts], dim=1)
        self.dense = torch.cat([each.dense for each in contexts])
        self._tell_answers(contexts, targets)
        self._tell_where_to_look(contexts, targets)
        self._tell_arrivals(contexts)

    def _used(self, context: Context) -> Tensor:
        """int64: the columns that hold this context's tokens."""
        used = torch.arange(len(context))
        used[context.num_shared :] += self.num_shared - context.num_shared
        return used

    def _tell_answers(self, contexts: Sequence[Context], targets: Tensor) -> None:
        self.answer_at = (targets.flatten() != NO_LABEL).nonzero()[:, 0]
        self.targets = targets.flatten()[self.answer_at]
        before = torch.tensor([len(each.questions) for each in contexts]).cumsum(0)
        row = self.answer_at // targets.shape[1]
        first = before[row] - torch.tensor([len(each.questions) for each in contexts])[row]
        self.answered = first + self.part.flatten()[self.answer_at] - 1

    def _tell_where_to_look(self, contexts: Sequence[Context], targets: Tensor) -> None:
        told = []
        for row, each in enumerate(contexts):
            columns = (targets[row] != NO_LABEL).nonzero()[:, 0]
            wanted = each.evidence[self.part[row, columns] - 1]  # [T, HOPS, V]
            is_told = wanted.any(dim=2).all(dim=1)
            told.append((columns[is_told], wanted[is_told]))
        self.pointing_at = _padded([columns for columns, _ in told])
        self.evidence = torch.zeros(
            *self.pointing_at.shape, HOPS, self.num_shared, dtype=torch.bool
        )
        for row, (_, wanted) in enumerate(told):
            shared = self.is_visual[row].nonzero()[:, 0]
            self.evidence[row, : len(wanted), :, shared] = wanted

    def _tell_arrivals(self, contexts: Sequence[Context]) -> None:
        shape = len(contexts), self.num_shared
        self.visits = torch.full(shape, NONE)
        self.earlier = torch.full(shape, NONE)
        self.is_arrival = torch.zeros(shape, dtype=torch.bool)
        for row, each in enumerate(contexts):
            shared = self.is_visual[row].nonzero()[:, 0]
            self.visits[row, shared] = each.visits
            self.earlier[row, shared] = each.earlier
            self.is_arrival[row, shared] = each.dense[:, 1] == 1
        self.arriving_at = self._columns_of(self.visits)
        self.following_at = self._columns_of(self.earlier)

    def _columns_of(self, visits: Tensor) -> Tensor:
        """int64 [B, R]: of columns with a visit, at most `_ARRIVALS` of a row, those whose visit
        arrives in it.
        """
        found = []
        for row, own in enumerate(visits):
            columns = (own >= 0).nonzero()[:, 0]
            columns = columns[:: 1 + len(columns) // _ARRIVALS]
            arrived = self.visits[row][self.is_arrival[row]]
            found.append(columns[torch.isin(own[columns], arrived)])
        return _padded(found)

    def to(self, device: str) -> Self:
        """All of it there."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """All of it where a GPU can fetch it by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Any) -> Self:
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, change(value))
        return self

    @property
    def mask(self) -> Tensor:
        """bool [B, 1, Q, S]: each token of a question sees the context and its own question."""
        order = torch.arange(self.num_shared, self.ids.shape[1], device=self.ids.device)
        return self.seen_from(order.expand(len(self.ids), -1))[:, None]

    def seen_from(self, columns: Tensor) -> Tensor:
        """bool [B, T, S]: what tokens of questions, int64 [B, T], see."""
        order = torch.arange(self.ids.shape[1], device=self.ids.device)
        asking = self.part.gather(1, columns)[..., None]
        own = (self.part[:, None, :] == asking) | (self.part[:, None, :] == 0)
        return own & (columns[..., None] >= order)


def _rounded(size: int) -> int:
    return -(-size // _ROUND) * _ROUND


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """int64 [rows, longest], filled up with NONE."""
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=NONE)


def answer_states(model: Any, batch: Batch) -> tuple[Tensor, Attended]:
    """Hidden states [A, D] after which the A tokens of all answers come, and what each layer
    attended with.
    """
    text = model.model.language_model
    text.config._attn_implementation = SHARED_ATTENTION
    attended: Attended = {}
    embeddings = text.embed_tokens(batch.ids)
    features = batch.features.to(embeddings.dtype)
    seen = embeddings.flatten(0, 1).index_copy(0, batch.visual_at, features)
    output = text(
        inputs_embeds=seen.view_as(embeddings),
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        visual_pos_masks=batch.is_visual,
        deepstack_visual_embeds=list(batch.deepstack.to(embeddings.dtype)),
        attended=attended,
    )
    states: Tensor = output.last_hidden_state.flatten(0, 1)[batch.answer_at]
    return states, attended


def marks(logits: Tensor, batch: Batch) -> Tensor:
    """bool [questions]: whether every token of an answer [A, V] is the likeliest, which is what
    greedy decoding would say.
    """
    is_wrong = (logits.argmax(-1) != batch.targets).long()
    count = torch.zeros(len(batch.questions), dtype=torch.long, device=logits.device)
    return count.index_add(0, batch.answered, is_wrong) == 0
