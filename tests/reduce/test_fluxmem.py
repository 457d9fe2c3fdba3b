"""FluxMem: its two steps written plainly, and pictures of a few cells."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from made_tokens import angles, make_tokens
from torch import Tensor

from streamvlm.reduce import ReductionContext
from streamvlm.reduce.strategies.fluxmem import FluxMem, otsu
from streamvlm.types import VisualTokens

GRID = (1, 4, 5)


def noise(seed: int, *, like: Tensor | None = None) -> Tensor:
    fresh = torch.randn(20, 6, generator=torch.Generator().manual_seed(seed))
    return fresh if like is None else like + 0.3 * fresh


def distance(one: Tensor, other: Tensor) -> float:
    return 1 - float(torch.cosine_similarity(one, other, dim=0))


def best_split(values: list[float]) -> float | None:
    """The bin centre with the greatest variance between what is in or below its bin and above."""
    bins = [min(127, int(value * 64)) for value in values]
    best, found = 0.0, None
    for edge in range(128):
        below = [(each + 0.5) / 64 for each in bins if each <= edge]
        above = [(each + 0.5) / 64 for each in bins if each > edge]
        if below and above:
            apart = sum(below) / len(below) - sum(above) / len(above)
            between = len(below) * len(above) / len(bins) ** 2 * apart**2
            if between > best + 1e-5:
                best, found = between, (edge + 0.5) / 64
    return found


def around(cell: int) -> list[int]:
    row, column = divmod(cell, 5)
    near = product((row - 1, row, row + 1), (column - 1, column, column + 1))
    return [r * 5 + c for r, c in near if 0 <= r < 4 and 0 <= c < 5]


def selected(now: Tensor, before: Tensor, behind: Tensor) -> list[int]:
    far = [
        [min(distance(now[cell], other[near]) for near in around(cell)) for cell in range(20)]
        for other in (before, behind)
    ]
    limits = [best_split(each) for each in far]
    assert all(limit is not None for limit in limits)
    return [
        cell
        for cell in range(20)
        if any(each[cell] >= (limit or 0) for each, limit in zip(far, limits, strict=True))
        and far[1][cell] >= 0.2
    ]


def groups(now: Tensor, cells: list[int]) -> list[list[int]]:
    edges = [(a, b) for a in cells for b in cells if a < b and b in around(a)]
    limit = best_split([distance(now[a], now[b]) for a, b in edges])
    label = {cell: cell for cell in cells}
    for _ in cells:
        for a, b in edges:
            if limit is not None and distance(now[a], now[b]) <= limit:
                label[a] = label[b] = min(label[a], label[b])
    return [[c for c in cells if label[c] == name] for name in sorted(set(label.values()))]


def context(before: Tensor, behind: Tensor) -> ReductionContext:
    return ReductionContext(
        previous=make_tokens(before, grid_thw=GRID), following=make_tokens(behind, grid_thw=GRID)
    )


def three_clips(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    now = noise(seed)
    before, behind = noise(seed + 1, like=now), noise(seed + 2, like=now)
    behind[::3] = noise(seed + 3)[::3]
    return now, before, behind


@pytest.mark.parametrize("seed", range(0, 50, 10))
def test_it_is_its_two_steps_written_plainly(seed: int) -> None:
    now, before, behind = three_clips(seed)
    tokens = make_tokens(now, grid_thw=GRID)
    chosen = selected(now, before, behind)
    pruned = FluxMem(merge=False)(tokens, context(before, behind))
    assert pruned.indices.tolist() == chosen
    merged = FluxMem()(tokens, context(before, behind))
    expected = {}
    for members in groups(now, chosen):
        mean = now[members].mean(dim=0)
        stands = min(members, key=lambda cell, mean=mean: round(distance(now[cell], mean), 4))
        expected[stands] = (mean, len(members))
    assert merged.indices.tolist() == sorted(expected)
    for row, cell in enumerate(merged.indices.tolist()):
        assert torch.allclose(merged.features[row], expected[cell][0], atol=1e-5)
        assert merged.weight[row] == expected[cell][1]


def test_of_what_stands_still_the_newest_copy_stays() -> None:
    still, moved = angles(0, 0, 0, 0, 0), angles(0, 0, 0, 90, 0)
    fluxmem = FluxMem(merge=False)

    def kept(tokens: VisualTokens, before: VisualTokens, behind: VisualTokens) -> list[int]:
        around = ReductionContext(previous=before, following=behind)
        return fluxmem(tokens, around).indices.tolist()

    assert kept(still, still, still) == []
    assert kept(moved, still, still) == [3]
    assert fluxmem(still, ReductionContext()).indices.tolist() == [0, 1, 2, 3, 4]


def test_otsu_splits_two_heaps_and_says_when_there_is_one() -> None:
    threshold, is_split = otsu(torch.tensor([0.1, 0.12, 0.11, 1.0, 1.1]))
    assert is_split and 0.1 < threshold < 1.0
    threshold, is_split = otsu(torch.full((5,), 0.3))
    assert not is_split and threshold == pytest.approx(0.3)
