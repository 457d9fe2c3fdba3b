"""What came of running tokens once: put together when somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streamvlm.types import InputTokens, RawKV
from streamvlm.vlm.context import KVContext
from streamvlm.vlm.raw_keys import Caught
from streamvlm.vlm.spread import places

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
        context: KVContext,
    ) -> None:
        """The tokens were the last to join the context; `hidden` [D] is that of the last one."""
        self._model, self._inputs, self._hidden = model, inputs, hidden
        self._caught, self._keys = caught, context.keys
        self._values = context.values[:, :, -len(inputs) :]

    @cached_property
    def kv(self) -> RawKV:
        """See `Prefilled.kv`."""
        values = self._values
        # Keys and values next to each other: what moves a block moves both by one copy.
        both = values.new_empty(2, *values.shape)
        for into, key in zip(both[0], self._caught.keys, strict=True):
            into.copy_(self._model.split_heads(key))
        both[1] = values
        spread = self._inputs.spread
        return RawKV(
            keys=both[0],
            values=both[1],
            positions=self._inputs.positions.clone(),
            spread=None if spread is None else spread.clone(),
        )

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
        last = places(self._inputs.positions, self._inputs.spread)[-1:]
        queries = self._model.rotate(raw, last)  # [L,H,1,E]
        grouped = queries.view(*self._keys.shape[:2], -1, queries.shape[-1])  # [L,G,H/G,E]
        scores = (grouped @ self._keys.transpose(2, 3)).float() * queries.shape[-1] ** -0.5
        piece = torch.repeat_interleave(torch.tensor(lengths)).to(queries.device)
        shares = scores.softmax(dim=-1)[..., : len(piece)].flatten(0, 2)  # [L*H,S]
        of_pieces = shares.new_zeros(len(shares), len(lengths)).index_add(1, piece, shares)
        most: Tensor = of_pieces.view(len(queries), -1, len(lengths)).amax(dim=1).cpu()
        return most
