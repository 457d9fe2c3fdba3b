"""A budget of tokens a second of stream: a threshold that follows it, and a bucket that holds it.

The bucket fills at the rate of the budget up to a burst, and nothing is kept that is not in it; so
over any time no more is kept than rate x time + burst. The threshold moves until what is kept is
what comes in: in a calm it falls, so that small changes use the budget, and in a storm it rises, so
that the budget goes to the largest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import Ge, Gt, Le

_LOWEST, _HIGHEST = 1e-4, 2.0
"""Of a threshold, a cosine distance. Below the lowest there is only rounding."""
_EVEN_OUT_SECONDS = 60.0
"""A bucket that is not half full is brought there within this time."""
_MOST_SHARE = 4.0
"""A storm moves the threshold no faster than this much too many tokens would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a clip may keep, and what is left of the budget; carried from clip to clip."""

    threshold: float
    """Cells that differ by more are worth a token."""
    level: float
    """Tokens in the bucket."""
    pts_seconds: float
    """When it was filled last."""

    @property
    def max_kept(self) -> int:
        """Most tokens of the clip."""
        return math.floor(self.level)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBudget:
    """Tokens a second of one stream."""

    tokens_per_second: Annotated[float, Gt(0)]
    burst_tokens: Annotated[float, Ge(1)] = 1024.0
    """How much of a calm is saved for a cut."""
    gain: Annotated[float, Gt(0), Le(1)] = 0.3
    """How fast the threshold follows: in nats a clip that spends twice what came in, or nothing."""
    first_threshold: Annotated[float, Gt(0), Le(2)] = 0.3

    def begin(self, pts_seconds: float) -> Allowance:
        """That of the first clip: a full bucket."""
        return Allowance(
            threshold=self.first_threshold, level=self.burst_tokens, pts_seconds=pts_seconds
        )

    def advance(self, before: Allowance, pts_seconds: float) -> Allowance:
        """That of a clip at `pts_seconds`. Time that goes back fills nothing."""
        came = max(0.0, pts_seconds - before.pts_seconds) * self.tokens_per_second
        level = min(self.burst_tokens, before.level + came)
        return replace(before, level=level, pts_seconds=pts_seconds)

    def settle(
        self, allowance: Allowance, *, wanted: int, kept: int, seconds: float, is_cut: bool = False
    ) -> Allowance:
        """What a clip leaves: `kept` tokens are spent, and the threshold moves by how many differed
        by more than it, `wanted`, beside what comes in within the clip's `seconds`. A cut is no
        measure of the scene: nothing moves.

        Raises ValueError where more was kept than allowed.
        """
        if kept > allowance.max_kept:
            raise ValueError(f"kept {kept} tokens, allowed were {allowance.max_kept}")
        threshold = allowance.threshold
        if not is_cut:
            saved = allowance.level - kept - self.burst_tokens / 2
            due = self.tokens_per_second * seconds + saved * min(1.0, seconds / _EVEN_OUT_SECONDS)
            share = min(wanted / due, _MOST_SHARE) if due > 0 else _MOST_SHARE
            threshold = min(_HIGHEST, max(_LOWEST, threshold * math.exp(self.gain * (share - 1))))
        return replace(allowance, threshold=threshold, level=allowance.level - kept)
