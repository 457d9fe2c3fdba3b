"""Frame budgets by the square of relevance, every stretch of a clip looked at."""

from __future__ import annotations

from streamvlm.remember.choosing import FoundTokens
from tests.remember.choosing.references import (
    Example,
    Expected,
    inner,
    keys_of,
    members,
    shared_out,
)

# The second clip has nothing to do with the question, the first and the third a half each.
EXAMPLE = Example(
    keys=[(1, 0), (1, 9), (0, 0), (1, 0), (1, 9)], sizes=[2, 1, 2], max_tokens=2, rows={1, 4}
)


def reference(found: FoundTokens, max_tokens: int) -> Expected:
    clips, keys, probe = members(found), keys_of(found), found.probe.tolist()
    fits = [sum(inner(keys[row], probe) for row in rows) / len(rows) for rows in clips]
    low, high = min(fits), max(fits)
    relevance = [0.5 if high - low < 1e-6 else (fit - low) / (high - low) for fit in fits]
    text = found.num_text.tolist()
    given = shared_out(
        [(100 * each) ** 2 for each in relevance],
        [each + 1 for each in text],
        [each + len(rows) for each, rows in zip(text, clips, strict=True)],
        max_tokens,
    )
    kept = set()
    for rows, num_given, num_text in zip(clips, given, text, strict=True):
        count = max(0, num_given - num_text)
        for stretch in range(count):
            begin, end = stretch * len(rows) / count, (stretch + 1) * len(rows) / count
            kept.add(rows[int((begin + end) / 2 + 1e-9)])
    return Expected(rows=kept)
