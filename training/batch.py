"""Contexts side by side, and what a model makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from streamvlm.evaluate.world.questions import TruthQuestion
from training.evidence import HOPS
from training.shared_attention import SHARED_ATTENTION, Attended
from training.writing import NO_LABEL, Context


class Batch:
    """B contexts padded to S tokens, on one device: in every row what all questions see comes
    first, as long as the longest, then the questions.
    """

    def __init__(self, contexts: Sequence[Context], device: str) -> None:
        self.contexts = contexts
        self.num_shared = max(each.num_shared for each in contexts)
        size = self.num_shared + max(len(each) - each.num_shared for each in contexts)
        self.ids = torch.zeros(len(contexts), size, dtype=torch.long)
        self.positions = torch.zeros(3, len(contexts), size, dtype=torch.long)
        self.part = torch.full((len(contexts), size), -1)
        self.targets = torch.full((len(contexts), size), NO_LABEL)
        self.is_visual = torch.zeros(len(contexts), size, dtype=torch.bool)
        self.visits = torch.full((len(contexts), self.num_shared), -1)
        self.earlier = torch.full((len(contexts), self.num_shared), -1)
        self.is_arrival = torch.zeros(len(contexts), self.num_shared, dtype=torch.bool)
        questions = max(len(each.questions) for each in contexts)
        self.evidence = torch.zeros(
            len(contexts), questions, HOPS, self.num_shared, dtype=torch.bool
        )
        for row, each in enumerate(contexts):
            shared = each.is_visual[: each.num_shared].nonzero()[:, 0]
            self.evidence[row, : len(each.questions), :, shared] = each.evidence
            self.visits[row, shared] = each.visits
            self.earlier[row, shared] = each.earlier
            self.is_arrival[row, shared] = each.dense[:, 1] == 1
            used = torch.arange(len(each))
            used[each.num_shared :] += self.num_shared - each.num_shared
            self.ids[row, used] = each.ids
            self.positions[:, row, used] = each.positions.T
            self.part[row, used] = each.part
            self.targets[row, used] = each.targets
            self.is_visual[row, used] = each.is_visual
        self.features = torch.cat([each.features for each in contexts]).float()
        self.deepstack = torch.cat([each.deepstack for each in contexts], dim=1).float()
        self.dense = torch.cat([each.dense for each in contexts])
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))

    @property
    def is_target(self) -> Tensor:
        """bool [B, S]: where the next token belongs to an answer."""
        return self.targets != NO_LABEL

    @property
    def mask(self) -> Tensor:
        """bool [B, 1, Q, S]: each token of a question sees the context and its own question."""
        order = torch.arange(self.ids.shape[1], device=self.ids.device)
        asking = self.part[:, self.num_shared :, None]
        own = (self.part[:, None, :] == asking) | (self.part[:, None, :] == 0)
        seen = own & (order[self.num_shared :, None] >= order)
        return seen[:, None]


def answer_states(model: Any, batch: Batch) -> tuple[Tensor, Attended]:
    """Hidden states [A, D] after which the A tokens of all answers come, and what each layer
    attended with.
    """
    text = model.model.language_model
    text.config._attn_implementation = SHARED_ATTENTION
    attended: Attended = {}
    embeddings = text.embed_tokens(batch.ids)
    output = text(
        inputs_embeds=embeddings.masked_scatter(batch.is_visual[..., None], batch.features),
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        visual_pos_masks=batch.is_visual,
        deepstack_visual_embeds=list(batch.deepstack),
        attended=attended,
    )
    states: Tensor = output.last_hidden_state[batch.is_target]
    return states, attended


def marks(logits: Tensor, batch: Batch) -> Iterator[tuple[TruthQuestion, bool]]:
    """Each question and whether every token of its answer [A, V] is the likeliest: what greedy
    decoding would say.
    """
    is_wrong = torch.zeros_like(batch.is_target)
    is_wrong[batch.is_target] = logits.argmax(-1) != batch.targets[batch.is_target]
    for row, context in enumerate(batch.contexts):
        wrong = set(batch.part[row][is_wrong[row]].tolist())
        for number, question in enumerate(context.questions, start=1):
            yield question, number not in wrong
