"""One token of each of several contexts in one forward.

The weights are read once for all of them, which is what a token costs; only attention runs over
each context by itself, as they differ in length and nothing is padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, Cache
from transformers.cache_utils import CacheLayerMixin
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from streamvlm.types import InputTokens
from streamvlm.vlm.context import KVContext

_TOGETHER_ATTENTION = "streamvlm_together"


class _LayerOfMany(CacheLayerMixin):  # type: ignore[misc]  # transformers has no types
    """One layer of several contexts; what it gives is a list with an entry for each."""

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self._layers = layers

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is missing."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any]:
        """Row b of [B,G,1,E] joins context b."""
        grown = [
            layer.update(key, value)
            for layer, key, value in zip(
                self._layers, key_states.split(1), value_states.split(1), strict=True
            )
        ]
        return [keys for keys, _ in grown], [values for _, values in grown]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """No mask is made of it."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Of the longest."""
        return max(int(layer.get_seq_length()) for layer in self._layers)

    def get_max_length(self) -> int:
        """None that is known."""
        return -1


def _attend_each(
    module: torch.nn.Module,
    query: Tensor,
    key: list[Tensor],
    value: list[Tensor],
    attention_mask: Tensor | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """`query` [B,H,1,E]; `key` and `value` B times [1,G,S,E]. Gives [B,1,H,E]."""
    rows = [
        sdpa_attention_forward(module, q, k, v, None, **settings)[0]
        for q, k, v in zip(query.split(1), key, value, strict=True)
    ]
    return torch.cat(rows), None


def run_together(text_model: Any, tokens: InputTokens, contexts: Sequence[KVContext]) -> Tensor:
    """Hidden states [B,D] of B text tokens, one of each context; it joins that. No context has
    grown where this fails.
    """
    with _growing_together(text_model.config, contexts) as cache:
        output = text_model(
            inputs_embeds=tokens.embeddings[:, None],
            position_ids=tokens.positions.T[:, :, None].to(tokens.embeddings.device),
            past_key_values=cache,
            use_cache=True,
        )
        hidden: Tensor = output.last_hidden_state[:, -1]
        return hidden


@contextmanager
def _growing_together(config: Any, contexts: Sequence[KVContext]) -> Iterator[Cache]:
    """A cache of batch B over B contexts, for the text model of this config while inside."""
    lengths = [context.num_tokens for context in contexts]
    layers = zip(*(context.cache.layers for context in contexts), strict=True)
    before, config._attn_implementation = config._attn_implementation, _TOGETHER_ATTENTION
    try:
        yield Cache(layers=[_LayerOfMany(each) for each in layers])
    except BaseException:
        for context, length in zip(contexts, lengths, strict=True):
            context.crop(length)
        raise
    finally:
        config._attn_implementation = before


AttentionInterface.register(_TOGETHER_ATTENTION, _attend_each)
