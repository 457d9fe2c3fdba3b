"""What a choice is given, and what it gives: the tokens that come back where not all can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from streamvlm.about import About

_NO_SPAN = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundTokens:
    """The N visual tokens of the blocks that a question found, oldest first, of C clips. All on the
    CPU.

    Memory holds keys and values, no features. What published methods read from features of pictures
    and texts, choices read from raw keys in the index layer, which know no positions: how relevant
    a token is says its inner product with the probe, how alike two tokens are the cosine of their
    keys. Sums go row by row, as in `remember.score`: equal tokens get equal numbers.
    """

    keys: Tensor
    """float32 [N,G,E], raw keys in the index layer."""
    probe: Tensor
    """float32 [R], of the question; R = G * E."""
    clips: Tensor
    """int64 [N], to which clip each belongs: 0 to C - 1, not decreasing, each at least once."""
    num_text: Tensor
    """int64 [C], tokens of text around each clip; they come back with the first of its others."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def num_visual(self) -> Tensor:
        """int64 [C], visual tokens of each clip; >= 1."""
        counts: Tensor = torch.bincount(self.clips, minlength=len(self.num_text))
        return counts

    @property
    def fits(self) -> Tensor:
        """float32 [N], how well each token fits the probe."""
        return (self.keys.flatten(1) * self.probe).sum(dim=1)

    @property
    def attention(self) -> Tensor:
        """float32 [N], adding up to 1: how the heads of the probe would share their attention among
        these tokens, positions aside.
        """
        num_heads, head_size = self.keys.shape[1:]
        logits = (self.keys * self.probe.view(num_heads, head_size)).sum(dim=2) / head_size**0.5
        shares: Tensor = logits.softmax(dim=0).mean(dim=1)
        return shares

    @property
    def directions(self) -> Tensor:
        """float32 [N,R], keys of length 1; zero keys stay zero."""
        directions: Tensor = normalize(self.keys.flatten(1), dim=1)
        return directions

    def clip_means(self, values: Tensor) -> Tensor:
        """[C,...], the mean of float [N,...] over the tokens of each clip."""
        sums = values.new_zeros(len(self.num_text), *values.shape[1:])
        sums = sums.index_add(0, self.clips, values)
        return sums / self.num_visual.view(-1, *[1] * (values.dim() - 1))

    def affordable(self, order: Tensor, max_tokens: int) -> Tensor:
        """The first of the distinct tokens `order`, int64 [n], that take at most `max_tokens`
        together, with the text of their clips: all until the next one would be one too many.
        """
        clips = self.clips[order]
        is_first = torch.zeros(len(order), dtype=torch.bool)
        is_first[torch.from_numpy(np.unique(clips.numpy(), return_index=True)[1])] = True
        costs = 1 + self.num_text[clips] * is_first
        return order[costs.cumsum(dim=0) <= max_tokens]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """Tokens that come back as means, each at the place of one of those that it is of."""

    rows: Tensor
    """int64 [M], distinct."""
    into: Tensor
    """int64 [M], at whose place; of the same clip, and itself among the rows."""
    shares: Tensor
    """float32 [M], >= 0; those of one mean add up to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """What comes back, besides the text of the clips that something comes back of."""

    rows: Tensor
    """int64 [K], distinct, in any order: the tokens that come back, or at whose place a mean does.
    """
    joined: Joined | None = None
    """None where all come back as they are."""


class Choice(Protocol):
    """Which of the found tokens come back. Pure: the same tokens give the same choice. Equal tokens
    go by block and place.
    """

    about: ClassVar[About]

    def __call__(self, found: FoundTokens, max_tokens: int) -> Chosen:
        """At most `max_tokens` >= 1, the text of clips included, which would not all fit."""
        ...


def strongest_first(values: Tensor) -> Tensor:
    """int64 [n]: all places of float [n], the highest value first, of equal ones the lower one."""
    return torch.from_numpy(np.argsort(-values.numpy(), kind="stable"))


def in_places(values: Tensor) -> Tensor:
    """float64 [...] to six places: what differs by rounding, as sums do that went another way, is
    equal then.
    """
    return values.double().round(decimals=6)


def followed_by(rows: Tensor, order: Tensor) -> Tensor:
    """int64 [n]: these places, then all others in `order`, int64 [n]."""
    is_left = torch.ones(len(order), dtype=torch.bool)
    is_left[rows] = False
    return torch.cat([rows, order[is_left[order]]])


def scaled(values: Tensor) -> Tensor:
    """float [n] brought to [0, 1]; 0.5 where all are alike, as then none of them says anything."""
    if not len(values):
        return values
    low, high = values.aminmax()
    if high - low <= _NO_SPAN:
        return torch.full_like(values, 0.5)
    return (values - low) / (high - low)
