"""Keys and values that one forward after the other attends to, in buffers with room behind."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

_BUCKET = 256
"""Buffers are as long as a multiple of this, with one to spare: what joins is written where it
stays, and what is copied to make room is copied once in so many tokens.
"""


class KVContext:
    """A `Context` that is a cache of transformers too."""

    def __init__(self, keys: Tensor, values: Tensor, num_tokens: int) -> None:
        """Buffers float [L,G,C,E], of which the first `num_tokens` are filled."""
        self._keys, self._values = keys, values
        self._lengths = [num_tokens] * len(keys)

    @property
    def num_tokens(self) -> int:
        """See `Context.num_tokens`."""
        return self._lengths[0]

    @property
    def keys(self) -> Tensor:
        """float [L,G,S,E], rotated: a view."""
        return self._keys[:, :, : self.num_tokens]

    @property
    def values(self) -> Tensor:
        """float [L,G,S,E]: a view."""
        return self._values[:, :, : self.num_tokens]

    @property
    def buffers(self) -> tuple[Tensor, Tensor]:
        """Keys and values [L,G,C,E] with the room behind them."""
        return self._keys, self._values

    @cached_property
    def cache(self) -> Cache:
        """What the classes of transformers read and write."""
        return Cache(layers=[BufferLayer(self, layer) for layer in range(len(self._lengths))])

    def of_layers(self, by_layer: Tensor) -> KVContext:
        """A copy in which each layer holds those of its tokens that bool [L,S] cpu says, equally
        many in all, in their order.
        """
        rows = by_layer.nonzero()[:, 1].view(len(by_layer), -1)  # [L,T]
        rows = rows.to(self._keys.device, non_blocking=True)
        num_groups, count, size = self._keys.shape[1], rows.shape[1], self._keys.shape[3]
        at = rows[:, None, :, None].expand(-1, num_groups, -1, size)
        keys, values = (_longer(each.gather(2, at), count, count) for each in self.buffers)
        return KVContext(keys, values, count)

    def make_room(self, num_tokens: int) -> None:
        """For so many in all. Where there was less, the buffers are other ones from now on."""
        if num_tokens > self._keys.shape[2]:
            filled = max(self._lengths)
            self._keys, self._values = (
                _longer(each, filled, num_tokens) for each in (self._keys, self._values)
            )

    def grow(self, num_tokens: int) -> None:
        """So many were written behind the others, in all layers."""
        self._lengths = [length + num_tokens for length in self._lengths]

    def crop(self, num_tokens: int) -> None:
        """Take back what joined behind the first `num_tokens`, be it in some layers only."""
        self._lengths = [num_tokens] * len(self._lengths)


class BufferLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers has no types
    """One layer of a context."""

    is_initialized = True

    def __init__(self, context: KVContext, layer: int) -> None:
        # Not that of transformers: it would set the keys and values, which are the context's.
        self._context, self._layer = context, layer

    @property
    def keys(self) -> Tensor:
        """float [1,G,S,E], rotated: a view."""
        return self._context._keys[self._layer, None, :, : self.get_seq_length()]

    @property
    def values(self) -> Tensor:
        """float [1,G,S,E]: a view."""
        return self._context._values[self._layer, None, :, : self.get_seq_length()]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write [1,G,S,E] behind what is there."""
        before = self.get_seq_length()
        after = before + key_states.shape[2]
        self._context.make_room(after)
        for buffer, states in zip(self._context.buffers, (key_states, value_states), strict=True):
            buffer[self._layer, :, before:after] = states[0]
        self._context._lengths[self._layer] = after
        return self.keys, self.values

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is missing."""

    def get_seq_length(self) -> int:
        """Tokens in it now."""
        return self._context._lengths[self._layer]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """So many keys, from the first."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """None."""
        return -1


def room_for(num_tokens: int) -> int:
    """How many tokens long the buffer is that holds so many."""
    return (num_tokens // _BUCKET + 2) * _BUCKET


def _longer(buffer: Tensor, num_tokens: int, needed: int) -> Tensor:
    """A buffer with room for `needed` tokens that begins as this one does."""
    longer = buffer.new_empty(*buffer.shape[:2], room_for(needed), buffer.shape[3])
    longer[:, :, :num_tokens] = buffer[:, :, :num_tokens]
    return longer
