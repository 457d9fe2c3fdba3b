"""Key clips one after the other, every other clip a softmax by hand."""

from __future__ import annotations

from math import exp

from streamvlm.remember.choosing import FoundTokens
from tests.remember.choosing.references import (
    Example,
    Expected,
    by_score,
    cosine,
    keys_of,
    mean,
    members,
)

# The first clip is what was asked for, of the second the one token that has to do with it is left.
EXAMPLE = Example(
    keys=[(1, 0), (1, 0.1), (0, 1), (0.7, -0.7), (0, 1)], sizes=[2, 3], max_tokens=3, rows={0, 1, 3}
)


def reference(found: FoundTokens, max_tokens: int) -> Expected:
    clips, keys, text = members(found), keys_of(found), found.num_text.tolist()
    probe = found.probe.tolist()
    means = [mean([keys[row] for row in rows]) for rows in clips]
    relevance = [round(cosine(each, probe), 6) for each in means]
    opened: list[int] = []
    for clip in by_score(range(len(clips)), relevance):
        if sum(text[each] + 1 for each in [*opened, clip]) > max_tokens:
            break
        opened.append(clip)
    left = max_tokens - sum(text[clip] + 1 for clip in opened)
    whole: list[int] = []
    too_alike: list[int] = []
    for clip in opened:
        if any(round(cosine(means[clip], means[each]), 6) > 0.85 for each in whole):
            too_alike.append(clip)
        elif len(clips[clip]) - 1 <= left:
            whole.append(clip)
            left -= len(clips[clip]) - 1
    for clip in too_alike:
        if len(clips[clip]) - 1 <= left:
            whole.append(clip)
            left -= len(clips[clip]) - 1
    rows = {row for clip in whole for row in clips[clip]}
    means_at = {}
    for clip in set(opened) - set(whole):
        before = [each for each in whole if each < clip]
        key = max(before) if before else min(whole, default=None)
        salience = {row: cosine(keys[row], probe) for row in clips[clip]}
        if key is not None:
            for row in salience:
                salience[row] -= max(cosine(keys[row], keys[other]) for other in clips[key])
        place = max(clips[clip], key=lambda row: (round(salience[row], 6), -row))
        weights = {
            row: exp((each - max(salience.values())) / 0.01) for row, each in salience.items()
        }
        total = sum(weights.values())
        means_at[place] = {row: weight / total for row, weight in weights.items()}
    return Expected(rows=rows | set(means_at), means=means_at)
