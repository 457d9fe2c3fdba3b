"""PruneVid before the language model: scenes, still cells once, density peaks of either kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations, pairwise

import torch
from made_tokens import make_tokens
from torch import Tensor

from references import Example, Expected, _peaks
from streamvlm.types import VisualTokens

SPEC = {"name": "prunevid", "keep_ratio": 7 / 24}
_ONE, _TWO, _UP = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
_DOWN = [0.0, 0.0, -1.0]
# Four cells stand still and are of two kinds: two rows, once. The last one turns round, and gets a
# row in one of two clips.
EXAMPLE = Example(
    settings={"keep_ratio": 0.3, "segment_clips": 2},
    clips=[
        make_tokens([_ONE, _ONE, _TWO, _TWO, _UP]),
        make_tokens([_ONE, _ONE, _TWO, _TWO, _DOWN]),
    ],
    rows=[[0, 2], [4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Windows of eight clips, the last one as long as it is."""
    expected = []
    for start in range(0, len(clips), 8):
        window = clips[start : start + 8]
        means = [clip.features.mean(dim=0) for clip in window]
        labels = _peaks.owners(means, max(1, len(means) // 4), neighbours=7)
        at = 0
        for length in _lengths(labels):
            scene = [clip.features for clip in window[at : at + length]]
            expected += _scene(scene, round(keep_ratio * length * len(scene[0])))
            at += length
    return expected


def _lengths(labels: list[int]) -> list[int]:
    """Runs (label, clips); those that are dissolved lose their label."""
    runs: list[list[int]] = []
    for label in labels:
        if runs and runs[-1][0] == label:
            runs[-1][1] += 1
        else:
            runs.append([label, 1])
    stays = [
        run[1] > 1 and run[1] == max(other[1] for other in runs if other[0] == run[0])
        for run in runs
    ]
    if not any(stays):
        return [len(labels)]
    names = []
    for at, run in enumerate(runs):
        left, right = at, at
        while left >= 0 and not stays[left]:
            left -= 1
        while right < len(runs) and not stays[right]:
            right += 1
        if left < 0:
            left = right
        if right == len(runs):
            right = left
        into = left if runs[left][1] >= runs[right][1] else right
        names += [runs[into][0]] * run[1]
    lengths = [1]
    for before, name in pairwise(names):
        if name == before:
            lengths[-1] += 1
        else:
            lengths.append(1)
    return lengths


def _scene(scene: Sequence[Tensor], count: int) -> list[Expected]:
    num_cells = len(scene[0])
    static = [cell for cell in range(num_cells) if _stands_still(scene, cell)]
    moving = [cell for cell in range(num_cells) if cell not in static]
    whole = len(scene) * len(moving) + len(static)
    count = min(count, whole)
    # In proportion, by where the sums end, as integers.
    ends = [count * number * len(moving) // whole for number in range(len(scene) + 1)]
    members: list[dict[int, list[Tensor]]] = []
    for number, clip in enumerate(scene):
        here = [clip[cell] for cell in moving]
        share = ends[number + 1] - ends[number]
        owners = _peaks.owners(here, share, neighbours=7) if share else []
        joined = defaultdict(list)
        for row, own in zip(here, owners, strict=False):
            joined[moving[own]].append(row)
        members.append(joined)
    if static:
        means = [torch.stack([clip[cell] for clip in scene]).mean(dim=0) for cell in static]
        for cell, own in zip(
            static, _peaks.owners(means, count - ends[-1], neighbours=7), strict=True
        ):
            members[0][static[own]] += [clip[cell] for clip in scene]
    return [_expected(each) for each in members]


def _stands_still(scene: Sequence[Tensor], cell: int) -> bool:
    cosines = [
        float(one[cell] @ two[cell] / (one[cell].norm() * two[cell].norm()))
        for one, two in combinations(scene, 2)
    ]
    return bool(cosines) and sum(cosines) / len(cosines) > 0.8


def _expected(members: dict[int, list[Tensor]]) -> Expected:
    rows = sorted(members)
    return Expected(
        rows=rows,
        features=torch.stack([torch.stack(members[row]).mean(dim=0) for row in rows])
        if rows
        else None,
        weight=[len(members[row]) for row in rows],
    )
