"""Tokens that keep several positions: a merged one those of some of its members.

After PPE (2025, arXiv 2510.22936): the pairs of frequencies of each rotary axis are cut into M
parts, and the m-th part is rotated by the position of the m-th member. Whatever moves tokens moves
one position of each; its spread, int64 [S,M,3], says how far from there its members are, the token
itself first. In the paper all parts of an axis are equal; here one whose pairs M does not divide is
cut as evenly as can be, and where the axes take turns (Qwen3-VL, which the paper does not have) its
own pairs are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn

from streamvlm.types import RawKV
from streamvlm.vlm.kernels.places import Frequencies


def places(positions: Tensor, spread: Tensor | None) -> Tensor:
    """int64 [S,M,3], the positions of all members; [S,3] where there is no spread."""
    return positions if spread is None else positions[:, None] + spread


def places_of(pieces: Sequence[RawKV]) -> Tensor:
    """`places` of all tokens of these pieces, at least one, one behind the other."""
    positions = torch.cat([piece.positions for piece in pieces])
    return places(positions, joined([piece.spread for piece in pieces], [*map(len, pieces)]))


def joined(spreads: Sequence[Tensor | None], lengths: Sequence[int]) -> Tensor | None:
    """The spreads of pieces with so many tokens, one behind the other; None where no piece has one.

    A piece of fewer members has each of them several times, and the same rotation.
    """
    if all(spread is None for spread in spreads):
        return None
    # A part of M is n whole parts of M * n: with a common multiple every part has one owner.
    most = lcm(*(spread.shape[1] for spread in spreads if spread is not None))
    return torch.cat(
        [
            torch.zeros(length, most, 3, dtype=torch.int64)
            if spread is None
            else spread.repeat_interleave(most // spread.shape[1], dim=1)
            for spread, length in zip(spreads, lengths, strict=True)
        ]
    )


def taken(spread: Tensor | None, rows: Tensor) -> Tensor | None:
    """That of these tokens."""
    return None if spread is None else spread[rows]


def rotary_ids(places: Tensor) -> Tensor:
    """`places` as a text model takes them: int64 [3,1,S], or [3,1,S,M] for `SpreadRotary`."""
    return places.movedim(-1, 0)[:, None]


class SpreadRotary(nn.Module):
    """The rotary embedding of a text model, which takes several positions of each token too."""

    def __init__(self, own: Any) -> None:
        super().__init__()
        self._own = own

    def forward(self, like: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B,S,E] of type and device of `like`, at int64 [3,B,S] or [3,B,S,M]."""
        first, *others = ids.unbind(-1) if ids.ndim == 4 else [ids]
        cos, sin = self._own(like, first)
        if not others:
            return cos, sin
        part = self._parts(1 + len(others)).to(like.device)
        for number, member in enumerate(others, start=1):
            its_cos, its_sin = self._own(like, member)
            cos = torch.where(part == number, its_cos, cos)
            sin = torch.where(part == number, its_sin, sin)
        return cos, sin

    @cached_property
    def frequencies(self) -> Frequencies | None:
        """What the angles are made of; None for a model that changes it with the positions."""
        if self._own.rope_type in ("dynamic", "longrope"):
            return None
        inverse = self._own.inv_freq.float()
        axes = self._is_of.argmax(dim=0).to(inverse.device)
        return Frequencies(inverse=inverse, axes=axes, scaling=self._own.attention_scaling)

    def _parts(self, num_members: int) -> Tensor:
        """int64 [E], whose position rotates each channel."""
        order, count = self._order
        return (order * num_members // count).repeat(2)

    @cached_property
    def _order(self) -> tuple[Tensor, Tensor]:
        """int64 [E/2] and [E/2]: of each pair of frequencies the how manyth of its axis it is, and
        how many that axis has.
        """
        counts = self._is_of.sum(dim=1, keepdim=True)
        return ((self._is_of.cumsum(dim=1) - 1) * self._is_of).sum(dim=0), (
            counts * self._is_of
        ).sum(dim=0)

    @cached_property
    def _is_of(self) -> Tensor:
        """int64 [3,E/2]: 1 where a pair of frequencies is of this axis. Families mix the axes in
        different ways: asked of the model itself.
        """
        ones = torch.eye(3, device=self._own.inv_freq.device)[:, None]
        # [3,1,3]: a token stands at 1 on one axis, at 0 on the others
        sin: Tensor = self._own(ones, ones)[1][0].cpu()
        return (sin[:, : sin.shape[1] // 2] != 0).long()
