"""Cut at the least alike neighbours, share out by attention, take the most attended."""

from __future__ import annotations

from math import exp

from streamvlm.remember.choosing import FoundTokens
from tests.remember.choosing.references import (
    Example,
    Expected,
    by_score,
    cosine,
    first_of,
    inner,
    keys_of,
    mean,
    members,
    shared_out,
)

# Two clips, two events, the second gets more attention in all: two of it, one of the first.
EXAMPLE = Example(
    keys=[(1, 0), (0.9, 0), (0.8, 9), (0.3, 9), (0.2, 9)],
    sizes=[2, 3],
    max_tokens=3,
    rows={0, 2, 3},
)


def reference(found: FoundTokens, max_tokens: int, num_events: int = 8) -> Expected:
    clips, keys, text = members(found), keys_of(found), found.num_text.tolist()
    means = [mean([keys[row] for row in rows]) for rows in clips]
    alike = [round(cosine(means[at], means[at + 1]), 6) for at in range(len(clips) - 1)]
    cuts = sorted(range(len(alike)), key=lambda at: (alike[at], at))[: num_events - 1]
    events: list[list[int]] = [[]]
    for clip in range(len(clips)):
        events[-1].append(clip)
        if clip in cuts:
            events.append([])
    attention = attention_of(found)
    rows_of = [[row for clip in event for row in clips[clip]] for event in events]
    parts = shared_out(
        [sum(attention[row] for row in rows) for rows in rows_of],
        [min(text[clip] + 1 for clip in event) for event in events],
        [
            len(rows) + sum(text[clip] for clip in event)
            for rows, event in zip(rows_of, events, strict=True)
        ],
        max_tokens,
    )
    scores = [round(each, 9) for each in attention]
    order: list[int] = []
    for rows, part in zip(rows_of, parts, strict=True):
        order += first_of(found, by_score(rows, scores), part)
    order += by_score([row for row in range(len(keys)) if row not in order], scores)
    return Expected(rows=set(first_of(found, order, max_tokens)))


def attention_of(found: FoundTokens) -> list[float]:
    """Each head for itself, then their mean."""
    num_heads, size = found.keys.shape[1:]
    shares = [0.0] * len(found)
    for head in range(num_heads):
        here = slice(head * size, (head + 1) * size)
        probe = found.probe.tolist()[here]
        weights = [exp(inner(key[here], probe) / size**0.5) for key in keys_of(found)]
        for row, weight in enumerate(weights):
            shares[row] += weight / sum(weights) / num_heads
    return shares
