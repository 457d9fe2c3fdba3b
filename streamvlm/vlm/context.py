"""Keys and values that one forward after the other attends to, in buffers with room behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_BUCKET = 256
"""Buffers are as long as a multiple of this, with one to spare: what joins is written where it
stays, and what is copied to make room is copied once in so many tokens.
"""


@dataclass(slots=True, kw_only=True)
class KVContext:
    """A `Context` over the cache class of transformers."""

    cache: Cache

    @property
    def num_tokens(self) -> int:
        """See `Context.num_tokens`."""
        return int(self.cache.get_seq_length())

    def crop(self, num_tokens: int) -> None:
        """Take back what joined behind the first `num_tokens`, be it in some layers only."""
        for layer in self.cache.layers:
            layer.crop(num_tokens - layer.get_seq_length())


class BufferLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no types
    """Keys and values of one layer: views of buffers, [1,G,S,E]."""

    def __init__(self, buffers: Sequence[Tensor], num_tokens: int) -> None:
        """`buffers` are [1,G,C,E] for keys and for values, C >= `num_tokens`."""
        super().__init__()
        self.dtype, self.device = buffers[0].dtype, buffers[0].device
        self._buffers, self.is_initialized = list(buffers), True
        self._show(num_tokens)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write [1,G,S,E] behind what is there."""
        before = self.keys.shape[2]
        after = before + key_states.shape[2]
        if after > self._buffers[0].shape[2]:
            self._buffers = [_longer(each, before, after) for each in self._buffers]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, before:after] = states
        self._show(after)
        return self.keys, self.values

    def _show(self, num_tokens: int) -> None:
        self.keys, self.values = (each[:, :, :num_tokens] for each in self._buffers)


def room_for(num_tokens: int) -> int:
    """How many tokens long the buffer is that holds so many."""
    return (num_tokens // _BUCKET + 2) * _BUCKET


def _longer(buffer: Tensor, num_tokens: int, needed: int) -> Tensor:
    """A buffer with room for `needed` tokens that begins as this one does."""
    longer = buffer.new_empty(*buffer.shape[:2], room_for(needed), buffer.shape[3])
    longer[:, :, :num_tokens] = buffer[:, :, :num_tokens]
    return longer


def over(keys: Tensor, values: Tensor, num_tokens: int) -> KVContext:
    """A context in these buffers, float [L,G,C,E], of which the first `num_tokens` are filled."""
    pairs = zip(keys, values, strict=True)
    layers = [BufferLayer([key[None], value[None]], num_tokens) for key, value in pairs]
    return KVContext(cache=Cache(layers=layers))
