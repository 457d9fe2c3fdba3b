"""What the operations are handed: where the keys and values of contexts lie, in a form that a
kernel reads on the device, and where raw queries and keys go.

A kernel that is told addresses when it runs, and not when it is recorded, does one recording for
all contexts: none is copied into a buffer of the recording's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

COLUMNS = ("keys", "values", "capacity", "start", "count")
"""Of `Places.rows`: how far keys and values lie from `Places.anchor`, in elements; how many tokens
the buffers hold; how many are there; how many join.
"""


@dataclass(slots=True, kw_only=True)
class Places:
    """Of B contexts, in tensors that stay where they are."""

    rows: Tensor
    """int64 [B,5], on the device: `COLUMNS`. All zeros: no context, and nothing joins it."""
    anchor: Tensor
    """Some tensor of the contexts' dtype on their device: addresses are told from here, as the
    compiler of kernels knows nothing of a pointer that it is handed as a number.
    """
    num_groups: int
    """Of keys and values."""
    buffers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Keys and values float [L,G,C,E] of each context: what the addresses point to."""

    def rows_of(
        self, buffers: Sequence[tuple[Tensor, Tensor]], starts: Sequence[int], count: int
    ) -> Tensor:
        """int64 [B,5] cpu, what `rows` must be where `count` tokens are to join each of these
        behind its first `starts`; contexts beyond these are none.
        """
        # In numpy: a tensor is made of so many numbers far more slowly.
        rows = np.zeros(self.rows.shape, dtype=np.int64)
        for row, (keys, values), start in zip(rows, buffers, starts, strict=False):
            addresses = from_anchor(keys, self.anchor), from_anchor(values, self.anchor)
            row[:] = *addresses, keys.shape[2], start, count
        return torch.from_numpy(rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Where queries and keys of one layer go as they were before they were rotated."""

    keys: Tensor
    """float [B,S,G,E]."""
    last_queries: Tensor
    """float [B,H,E], of the last token of each context that counts."""
    queries: Tensor | None
    """float [B,S,H,E]; None where nobody wants them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frequencies:
    """Of rotary positions."""

    inverse: Tensor
    """float32 [E/2], angle by position, of each pair of channels."""
    axes: Tensor
    """int64 [E/2], which of the three axes each pair belongs to."""
    scaling: float
    """Of cosines and sines; 1 but for some ways of stretching positions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norms:
    """Of queries and keys, where a model has them."""

    query: Tensor
    """float [E], the weight."""
    key: Tensor
    """float [E], the weight."""
    eps: float


def from_anchor(tensor: Tensor, anchor: Tensor) -> int:
    """How far a tensor lies from another one of its dtype on its device, in elements; < 0 where it
    lies before it.
    """
    distance, rest = divmod(tensor.data_ptr() - anchor.data_ptr(), anchor.element_size())
    assert rest == 0 and tensor.dtype == anchor.dtype, "not aligned"
    return distance
