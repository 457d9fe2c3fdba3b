"""What a reducer is, what it is told, and the one place where a ratio becomes a count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, Any, Protocol, runtime_checkable

from annotated_types import Gt, Le
from torch import Generator, Tensor

from streamvlm.types import KeptTokens, VisualTokens
from streamvlm.types import Signal as Signal

KeepRatio = Annotated[float, Gt(0), Le(1)]
"""Kept / total, in (0, 1]: the only ratio there is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What was last kept in each cell of the grid; the pipeline carries it from clip to clip."""

    features: Tensor
    """float [N,D]: the last kept feature of each cell; a zero vector where none ever was."""
    age: Tensor
    """int64 [N]: clips since that cell was last kept; 0 = in the last clip."""
    grid_thw: tuple[int, int, int]
    """The grid this belongs to; a clip of another size starts anew."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReductionContext:
    """What a strategy may know besides the clip itself. Nothing that has not been seen yet."""

    clip_index: int = 0
    """Counts the clips that the reducer has seen; staggers refreshes."""
    previous: VisualTokens | None = None
    """The clip before, in full, be it of another size; None at the start and after a gap."""
    reference: Reference | None = None
    """What was last kept in each cell, be it of another size; None at the start and after a gap."""
    following: VisualTokens | None = None
    """The clip behind, in full, where the fresh window has it already; None before a gap and in a
    stream without a window."""
    carried: Any = None
    """What the strategy left of the clips before, see `Carrying`; None at the start and after a
    gap."""
    max_kept: int | None = None
    """Most tokens to keep; None = no cap."""
    generator: Generator | None = None
    """The only source of randomness, on the cpu; None = seeded by the strategy's own `seed`."""


class Reducer(Protocol):
    """One clip's tokens in, some of them out. Pure; its settings are frozen fields."""

    @property
    def needs(self) -> frozenset[Signal]:
        """Signals that must be present in the tokens."""
        ...

    def __call__(self, tokens: VisualTokens, context: ReductionContext) -> KeptTokens:
        """Keep K <= N tokens; K may be 0. Never changes its input."""
        ...


@runtime_checkable
class Carrying(Protocol):
    """A reducer that carries something of its own from clip to clip. It has no state itself."""

    def advance(self, tokens: VisualTokens, context: ReductionContext) -> tuple[KeptTokens, Any]:
        """What the call gives, and the `carried` of the next clip: of a size that does not grow."""
        ...


def told(tokens: VisualTokens, signal: Signal) -> Tensor:
    """float [N]. Raises ValueError where the encoder was not asked for it."""
    values: Tensor | None = getattr(tokens, signal)
    if values is None:
        raise ValueError(f"these tokens do not tell their {signal}; see Encoder.signals")
    return values


def num_kept(num_total: int, keep_ratio: float, max_kept: int | None = None) -> int:
    """How many of `num_total` tokens a ratio keeps: rounded half up, and not 0 unless total is.

    `max_kept` caps the count (None = no cap), also at 0.
    """
    count = min(num_total, max(1, int(num_total * keep_ratio + 0.5))) if num_total else 0
    return count if max_kept is None else min(count, max_kept)


def shared_out(count: int, sizes: Sequence[int]) -> list[int]:
    """`count` <= sum of `sizes` in as many parts, in proportion to them and none larger than its
    own; what does not divide falls to later ones.
    """
    total = max(1, sum(sizes))
    return [
        count * end // total - count * start // total
        for start, end in pairwise(accumulate(sizes, initial=0))
    ]
