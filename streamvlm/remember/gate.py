"""Whether what is found stands out from what the same question finds anywhere in the stream.

Recalled history must earn its place: what is not about it pushes answers about now astray (after
SimpleStream, whose last four frames beat every memory on questions about now).
"""

from __future__ import annotations

from torch import Tensor

MIN_BLOCKS = 8
"""With fewer nothing can be said about what is usual."""
BACKGROUND_BLOCKS = 1024
"""Evenly over the stream, that stand for all where there are more."""
_DEVIATIONS = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation."""


def standing(scores: Tensor, best: float) -> float:
    """How many standard deviations `best` lies above the usual one of `scores` float [B]: a robust
    z-score, by median and median absolute deviation. Infinite where fewer than MIN_BLOCKS are
    there, and above scores that are all the same.
    """
    if len(scores) < MIN_BLOCKS:
        return float("inf")
    usual = scores.double().quantile(0.5)
    spread = _DEVIATIONS * float((scores - usual).abs().quantile(0.5))
    above = best - float(usual)
    if spread == 0:
        return float("inf") if above > 0 else 0.0
    return above / spread
