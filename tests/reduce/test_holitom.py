"""HoliTom against its description written plainly, and a segment of five cells."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, exp, sqrt

import pytest
import torch
from made_tokens import angles, make_tokens
from torch import Tensor

from streamvlm.reduce import Reduced
from streamvlm.reduce.strategies.holitom import HoliTom
from streamvlm.types import VisualTokens

CELLS, SIZE, BETA = 20, 6, 0.6


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clips_of(num_clips: int, seed: int) -> list[Tensor]:
    """Most cells stand still under noise; a quarter is new in every clip."""
    still = noise(CELLS, SIZE, seed=seed)
    shown = []
    for number in range(num_clips):
        clip = still + 0.1 * noise(CELLS, SIZE, seed=seed + 100 + number)
        clip[: CELLS // 4] = noise(CELLS // 4, SIZE, seed=seed + 200 + number)
        shown.append(clip)
    return shown


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def peaks(rows: list[Tensor], count: int) -> list[int]:
    """The owner of each row."""
    size = range(len(rows))
    far = [[float((a - b).norm()) / sqrt(SIZE) for b in rows] for a in rows]
    density = [exp(-sum(each**2 for each in sorted(row)[:7]) / min(7, len(row))) for row in far]
    apart = []
    for i in size:
        denser = [far[i][j] for j in size if (density[j], -j) > (density[i], -i)]
        apart.append(min(denser, default=max(map(max, far))))
    best = sorted(sorted(size, key=lambda i: -density[i] * apart[i])[:count])
    return [i if i in best else min(best, key=lambda c, i=i: far[i][c]) for i in size]


def written_plainly(
    clips: list[Tensor], keep_ratio: float
) -> list[dict[int, tuple[Tensor, float]]]:
    """For each clip what stays: cell -> (feature, weight). One segment of all clips."""
    still = [
        cell
        for cell in range(CELLS)
        if all(cosine(a[cell], b[cell]) > 0.8 for a, b in pairwise(clips))
    ]
    total = len(clips) * CELLS
    left = total - (len(clips) - 1) * len(still)
    ratio = min(1.0, keep_ratio * total / left)
    stays: list[dict[int, tuple[Tensor, float]]] = []
    for clip in clips:
        moving = [cell for cell in range(CELLS) if cell not in still]
        mean = clip.mean(dim=0)
        moving.sort(key=lambda cell, clip=clip, mean=mean: cosine(clip[cell], mean))
        stays.append({cell: (clip[cell], 1.0) for cell in moving[: ceil(len(moving) * ratio)]})
    if still:
        means = [torch.stack([clip[cell] for clip in clips]).mean(dim=0) for cell in still]
        owner = peaks(means, max(1, int(len(still) * ratio + 0.5)))
        for centre in sorted(set(owner)):
            joined = [i for i, own in enumerate(owner) if own == centre and i != centre]
            feature = means[centre]
            if joined:
                others = torch.stack([means[i] for i in joined]).mean(dim=0)
                feature = BETA * means[centre] + (1 - BETA) * others
            stays[0][still[centre]] = (feature, len(clips) * (len(joined) + 1.0))
    return stays


def reduced(clips: list[VisualTokens], **settings: float) -> list[Reduced]:
    stream = HoliTom(segment_clips=64, **settings).open()
    return [each for clip in clips for each in stream.push(clip, None)] + stream.flush()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("keep_ratio", [0.1, 0.25, 1.0])
def test_a_segment_is_what_the_description_says(seed: int, keep_ratio: float) -> None:
    shown = clips_of(5, seed)
    segments = reduced([make_tokens(clip) for clip in shown], keep_ratio=keep_ratio)
    (segment,) = segments
    expected = [each for each in written_plainly(shown, keep_ratio) if each]
    assert len(segment.clips) == len(expected)
    for kept, stays in zip(segment.clips, expected, strict=True):
        assert kept.indices.tolist() == sorted(stays)
        for row, cell in enumerate(kept.indices.tolist()):
            feature, weight = stays[cell]
            assert torch.allclose(kept.features[row], feature, atol=1e-5)
            assert kept.weight[row] == weight


def test_still_cells_stay_once_and_at_least_one_of_them() -> None:
    still = [angles(0, 10, 90, 100, 180) for _ in range(6)]
    (segment,) = reduced(still, keep_ratio=1.0)
    (kept,) = segment.clips
    assert kept.indices.tolist() == [0, 1, 2, 3, 4] and (kept.weight == 6).all()
    (segment,) = reduced(still, keep_ratio=0.01)
    (kept,) = segment.clips
    assert len(kept) == 1 and kept.weight.item() == 30


def test_deepstack_is_merged_like_the_features() -> None:
    clips = [make_tokens(clip, deepstack=clip.repeat(2, 1, 1)) for clip in clips_of(4, seed=9)]
    for kept in reduced(clips, keep_ratio=0.25)[0].clips:
        assert kept.deepstack is not None
        assert torch.allclose(kept.deepstack, kept.features.repeat(2, 1, 1), atol=1e-5)
