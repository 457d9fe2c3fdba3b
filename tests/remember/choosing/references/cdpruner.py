"""What each token adds to the volume, by what Gram and Schmidt leave of it."""

from __future__ import annotations

from streamvlm.remember.choosing import FoundTokens
from tests.remember.choosing.references import (
    Example,
    Expected,
    by_score,
    first_of,
    inner,
    keys_of,
)

# The second token is the first once more, the third says something else.
EXAMPLE = Example(
    keys=[(1, 0), (1, 0), (0.6, 0.8), (0.1, 0), (0, 1)], sizes=[5], max_tokens=2, rows={0, 2}
)


def reference(found: FoundTokens, max_tokens: int) -> Expected:
    keys = keys_of(found)
    fits = [inner(key, found.probe.tolist()) for key in keys]
    low, high = min(fits), max(fits)
    relevance = [0.5 if high - low < 1e-6 else (fit - low) / (high - low) for fit in fits]
    lengths = [inner(key, key) ** 0.5 for key in keys]
    rests = [
        [number / length for number in key] if length else key
        for key, length in zip(keys, lengths, strict=True)
    ]
    chosen: list[int] = []
    while len(chosen) < min(len(keys), max_tokens):
        new = [
            relevance[row] ** 2 * inner(rest, rest) if row not in chosen else -1.0
            for row, rest in enumerate(rests)
        ]
        row = max(range(len(new)), key=lambda each: (round(new[each], 9), -each))
        if new[row] <= 1e-6:
            break
        chosen.append(row)
        axis = [number / inner(rests[row], rests[row]) ** 0.5 for number in rests[row]]
        for other, rest in enumerate(rests):
            along = inner(rest, axis)
            rests[other] = [r - along * a for r, a in zip(rest, axis, strict=True)]
    others = [row for row in range(len(keys)) if row not in chosen]
    scores = [round(each, 6) for each in relevance]
    return Expected(rows=set(first_of(found, [*chosen, *by_score(others, scores)], max_tokens)))
