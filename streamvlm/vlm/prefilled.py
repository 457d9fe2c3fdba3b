"""What came of running tokens once: put together when somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm.raw_keys import Caught

if TYPE_CHECKING:
    from streamvlm.vlm.qwen import QwenVL


class QwenPrefilled:
    """A `Prefilled` that holds what came by and puts it together on demand."""

    def __init__(
        self,
        model: QwenVL,
        inputs: InputTokens,
        hidden: Tensor,
        caught: Caught,
        keys: list[Tensor],
        values: list[Tensor],
    ) -> None:
        """`keys` are the rotated ones of the whole context, [G,S,E] a layer."""
        self._model, self._inputs, self._hidden = model, inputs, hidden
        self._caught, self._keys, self._values = caught, keys, values

    @cached_property
    def kv(self) -> RawKV:
        """See `Prefilled.kv`."""
        values = self._values
        # Keys and values next to each other: what moves a block moves both by one copy.
        both = values[0].new_empty(2, len(values), *values[0].shape)
        for into, key in zip(both[0], self._caught.keys, strict=True):
            into.copy_(self._model.split_heads(key))
        torch.stack(values, out=both[1])
        return RawKV(keys=both[0], values=both[1], positions=self._inputs.positions.clone())

    @cached_property
    def logits(self) -> Tensor:
        """See `Prefilled.logits`."""
        return self._model.logits(self._hidden)

    @cached_property
    def probe(self) -> Tensor:
        """See `Prefilled.probe`."""
        heads = self._model.split_heads(self._caught.queries[0]).float().mean(dim=1)  # [H,E]
        return self._model.mean_over_groups(heads).flatten().cpu()

    @torch.inference_mode()
    def attention(self, lengths: Sequence[int]) -> Tensor:
        """See `Prefilled.attention`."""
        raw = torch.stack([self._model.split_heads(each) for each in self._caught.last_queries])
        queries = self._model.rotate(raw, self._inputs.positions[-1:])  # [L,H,1,E]
        piece = torch.repeat_interleave(torch.tensor(lengths)).to(queries.device)
        most = torch.zeros(len(lengths), device=queries.device)
        for query, keys in zip(queries, self._keys, strict=True):
            grouped = query.view(len(keys), -1, query.shape[-1])  # [G,H/G,E]
            scores = (grouped @ keys.transpose(1, 2)).float() * grouped.shape[-1] ** -0.5
            shares = scores.softmax(dim=-1)[..., : len(piece)].flatten(0, 1)  # [H,S]
            of_pieces = shares.new_zeros(len(shares), len(lengths)).index_add(1, piece, shares)
            most = torch.maximum(most, of_pieces.amax(dim=0))
        return most.cpu()
