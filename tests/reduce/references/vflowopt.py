"""Importance, then the blocks of what is pruned, tried for every number of rows that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp, log2

import torch
from made_tokens import make_tokens

from references import Example, Expected
from streamvlm.types import VisualTokens

SPEC = {"name": "vflowopt", "keep_ratio": 9 / 24, "entropy_weight": 0.4, "block": 3}
_FIVE = make_tokens([[1.0, 0], [0, 1], [-1, 0], [0, -1], [1, 0]])
EXAMPLE = Example(
    settings={"keep_ratio": 0.6, "block": 3},
    clips=[replace(_FIVE, salience=torch.tensor([0.1, 0.2, 0.1, 0.9, 0.1]))],
    rows=[[1, 3, 4]],
)
"""The most attended one stays; the best of the three at the left stands for them, and the other at
the right for itself."""


def reference(
    clips: Sequence[VisualTokens], *, keep_ratio: float, entropy_weight: float, block: int
) -> list[Expected]:
    """Each clip for itself."""
    expected = []
    for clip in clips:
        importance = _importance(clip, entropy_weight)
        # To six places: what differs by rounding is equal, and the lower row wins.
        order = sorted(range(len(clip)), key=lambda row: -round(importance[row], 6))
        count = round(keep_ratio * len(clip))
        # The most that stay by themselves while the blocks of the others find room too.
        alone = max(
            number
            for number in range(len(clip) + 1)
            if number + len(_blocks(clip, order[number:], block)) <= count
        )
        groups = [[row] for row in order[:alone]] + _blocks(clip, order[alone:], block)
        expected.append(_merged(clip, importance, groups))
    return expected


def _importance(clip: VisualTokens, entropy_weight: float) -> list[float]:
    assert clip.salience is not None
    attention = (clip.salience / clip.salience.sum()).tolist()
    entropies = []
    for row in clip.features.tolist():
        energy = sum(each**2 for each in row)
        shares = [each**2 / energy for each in row]
        entropies.append(-sum(share * log2(share) for share in shares if share))
    total = sum(map(exp, entropies))
    return [
        attended + entropy_weight * exp(entropy) / total
        for attended, entropy in zip(attention, entropies, strict=True)
    ]


def _blocks(clip: VisualTokens, rows: list[int], side: int) -> list[list[int]]:
    """Rows by their block, in each the most important first."""
    blocks: dict[tuple[int, int, int], list[int]] = {}
    for each in rows:
        time, row, column = clip.cells[each].tolist()
        blocks.setdefault((time, row // side, column // side), []).append(each)
    return list(blocks.values())


def _merged(clip: VisualTokens, importance: list[float], groups: list[list[int]]) -> Expected:
    groups = sorted(groups, key=lambda group: group[0])
    features = []
    for group in groups:
        total = sum(importance[row] for row in group)
        features.append(sum(importance[row] / total * clip.features[row] for row in group))
    return Expected(
        rows=[group[0] for group in groups],
        features=torch.stack([torch.as_tensor(each) for each in features]),
        weight=[len(group) for group in groups],
    )
