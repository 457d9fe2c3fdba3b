"""Density peaks against their formula, and runs of clips against the scenes that were shown."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from streamvlm.reduce.clustering import KeyClips, density_peaks


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def written_plainly(rows: Tensor, count: int, neighbours: int) -> list[int]:
    size = range(len(rows))
    far = [
        [float((rows[i] - rows[j]).norm()) / math.sqrt(rows.shape[1]) for j in size] for i in size
    ]
    density = [
        math.exp(-sum(each**2 for each in sorted(row)[:neighbours]) / neighbours) for row in far
    ]
    apart = []
    for i in size:
        denser = [far[i][j] for j in size if (density[j], -j) > (density[i], -i)]
        apart.append(min(denser) if denser else max(map(max, far)))
    best = sorted(size, key=lambda i: -density[i] * apart[i])[:count]
    owner = [min(sorted(best), key=lambda centre, i=i: far[i][centre]) for i in size]
    return [i if i in best else owner[i] for i in size]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("count", [1, 3, 20])
def test_density_peaks_are_their_formula(seed: int, count: int) -> None:
    rows = noise(seed, 20, 4)
    assert density_peaks(rows, count, neighbours=5).tolist() == written_plainly(rows, count, 5)


def test_five_rows_in_two_groups() -> None:
    rows = torch.tensor([[0.0, 0], [0.1, 0], [5, 5], [5.1, 5], [0, 0.1]])
    owner = density_peaks(rows, 2, neighbours=2)
    assert owner[0] == owner[1] == owner[4] and owner[2] == owner[3] != owner[0]


def test_rows_that_are_alike_belong_to_the_first() -> None:
    assert density_peaks(torch.ones(5, 3), 2).tolist() == [0, 1, 0, 0, 0]


def test_runs_are_the_scenes_that_were_shown() -> None:
    scenes = noise(0, 4, 1, 6)
    keys = KeyClips(max_runs=4)
    for clip in range(40):
        keys.push(scenes[clip // 10] + 0.01 * noise(clip, 8, 6))
    assert [(run.first_clip, run.num_clips) for run in keys.runs] == [
        (0, 10),
        (10, 10),
        (20, 10),
        (30, 10),
    ]
    assert all(run.first_clip <= run.key_clip < run.first_clip + run.num_clips for run in keys.runs)


def test_a_day_is_held_in_a_few_runs_that_together_are_all_clips() -> None:
    keys = KeyClips(max_runs=8)
    for clip in range(3000):
        keys.push(noise(clip, 2, 4))
        assert len(keys.runs) <= 8
        ends = [run.first_clip + run.num_clips for run in keys.runs]
        assert [run.first_clip for run in keys.runs] == [0, *ends[:-1]] and ends[-1] == clip + 1
