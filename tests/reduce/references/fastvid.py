"""FastVID on windows of eight clips: scenes, salient rows, and peaks that the others join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from made_tokens import angles
from torch import Tensor

from references import Example, Expected, _peaks
from streamvlm.types import VisualTokens

SPEC = {"name": "fastvid", "keep_ratio": 7 / 24}
# Two salient ones, and of the three others the middle one.
EXAMPLE = Example(
    settings={"keep_ratio": 0.6, "segment_clips": 1},
    clips=[replace(angles(0, 1, 2, 180, 90), salience=torch.tensor([0.1, 0.1, 0.1, 0.8, 0.9]))],
    rows=[[1, 3, 4]],
)


def reference(clips: Sequence[VisualTokens], *, keep_ratio: float) -> list[Expected]:
    """Windows of eight clips, the last one as long as it is."""
    expected = []
    for start in range(0, len(clips), 8):
        window = clips[start : start + 8]
        means = [clip.features.mean(dim=0) for clip in window]
        alike = [round(_cosine(one, two), 6) for one, two in pairwise(means)]
        by_likeness = sorted(range(len(alike)), key=lambda at: alike[at])
        scene: list[VisualTokens] = []
        for number, clip in enumerate(window):
            if number:
                at = number - 1
                is_lowest = len(window) == 8 and at == by_likeness[0] and alike[at] <= 0.95
                if alike[at] < 0.84 or is_lowest:
                    expected += _scene(scene, keep_ratio)
                    scene = []
            scene.append(clip)
        expected += _scene(scene, keep_ratio)
    return expected


def _scene(scene: Sequence[VisualTokens], keep_ratio: float) -> list[Expected]:
    num_clips, num_cells = len(scene), len(scene[0])
    count = round(keep_ratio * num_clips * num_cells)
    num_peaks = int(0.4 * count)
    shares = _parts(count - num_peaks, [num_cells] * num_clips)
    salient = []
    for clip, share in zip(scene, shares, strict=True):
        weights = [round(float(each), 9) for each in _salience(clip)]
        salient.append(sorted(range(num_cells), key=lambda row, w=weights: -w[row])[:share])
    anchors = sorted(range(num_clips - 1, -1, -4))
    rooms = [num_cells - shares[number] for number in anchors]
    peaks: list[tuple[int, int]] = []
    for number, share in zip(anchors, _parts(num_peaks, rooms), strict=True):
        rest = [row for row in range(num_cells) if row not in salient[number]]
        if share:
            owners = _peaks.owners(
                [scene[number].features[row] for row in rest], share, neighbours=4
            )
            peaks += [(number, rest[own]) for own in sorted(set(owners))]
    joined: dict[tuple[int, int], list[Tensor]] = {each: [] for each in peaks}
    for number, clip in enumerate(scene):
        for row in range(num_cells):
            if row not in salient[number] and (number, row) not in joined:
                own = clip.features[row]
                into = max(
                    peaks,
                    key=lambda each, own=own: round(
                        _cosine(own, scene[each[0]].features[each[1]]), 6
                    ),
                )
                joined[into].append(own)
    return [_clip(clip, number, salient[number], joined) for number, clip in enumerate(scene)]


def _clip(
    clip: VisualTokens, number: int, salient: list[int], joined: dict[tuple[int, int], list[Tensor]]
) -> Expected:
    rows = sorted([*salient, *(row for at, row in joined if at == number)])
    features, weight = [], []
    for row in rows:
        others = joined.get((number, row), [])
        own = clip.features[row]
        share = max(1 / (len(others) + 1), 0.6)
        features.append(
            share * own + (1 - share) * torch.stack(others).mean(dim=0) if others else own
        )
        weight.append(1 + len(others))
    return Expected(rows=rows, features=torch.stack(features), weight=weight)


def _parts(count: int, sizes: Sequence[int]) -> list[int]:
    """In proportion, by where the sums end."""
    ends = [count * sum(sizes[:number]) // sum(sizes) for number in range(len(sizes) + 1)]
    return [end - start for start, end in pairwise(ends)]


def _salience(clip: VisualTokens) -> Tensor:
    assert clip.salience is not None
    return clip.salience


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))
