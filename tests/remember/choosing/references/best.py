"""The best ones, one after the other."""

from __future__ import annotations

from streamvlm.remember.choosing import FoundTokens
from tests.remember.choosing.references import Example, Expected, by_score, first_of, fits_of

EXAMPLE = Example(
    keys=[(0.1, 1), (0.9, 1), (0.3, 1), (0.8, 1), (0.2, 1)], sizes=[2, 3], max_tokens=2, rows={1, 3}
)


def reference(found: FoundTokens, max_tokens: int) -> Expected:
    order = by_score(range(len(found)), fits_of(found))
    return Expected(rows=set(first_of(found, order, max_tokens)))
