"""Strategies of the literature: a clip of five tokens, and the formula written plainly."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from made_tokens import angles, make_tokens, reduce_stream
from torch import Tensor

from streamvlm.reduce import ReductionContext, build_reducer
from streamvlm.reduce.ops import directions
from streamvlm.types import VisualTokens

COUNT, NUM_TOKENS = 7, 24


def kept_of(name: str, tokens: VisualTokens, keep_ratio: float, **settings: Any) -> list[int]:
    reducer = build_reducer({"name": name, "keep_ratio": keep_ratio, **settings})
    return reducer(tokens, ReductionContext()).indices.tolist()


def noise(seed: int, num_tokens: int = NUM_TOKENS, size: int = 5) -> Tensor:
    return torch.randn(num_tokens, size, generator=torch.Generator().manual_seed(seed)).double()


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


def most_volume(rows: Tensor, count: int) -> list[int]:
    unit = rows / rows.norm(dim=1, keepdim=True)
    kernel, chosen = unit @ unit.T, list[int]()

    def volume(row: int) -> float:
        members = torch.tensor([*chosen, row])
        # Rounded, as all single rows have the same volume.
        return round(float(torch.linalg.det(kernel[members][:, members])), 9)

    while len(chosen) < count:
        chosen.append(max(set(range(len(rows))) - set(chosen), key=volume))
    return sorted(chosen)


def scaled(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())


def from_mean(rows: Tensor) -> Tensor:
    """How far each row is from the mean of all."""
    return scaled(torch.tensor([1 - cosine(row, rows.mean(dim=0)) for row in rows]).double())


def most_relevant(rows: Tensor, count: int) -> list[int]:
    importance, chosen = from_mean(rows), list[int]()

    def value(row: int) -> float:
        alike = max((cosine(rows[row], rows[each]) for each in chosen), default=0.0)
        return 0.5 * float(importance[row]) - 0.5 * alike

    while len(chosen) < count:
        chosen.append(max(set(range(len(rows))) - set(chosen), key=value))
    return sorted(chosen)


def key_tokens(rows: Tensor, count: int) -> list[int]:
    repeated = [
        sum(cosine(row, other) for i, other in enumerate(rows) if i != number) / (len(rows) - 1)
        for number, row in enumerate(rows)
    ]
    score = 0.2 * from_mean(rows) + 0.8 * (1 - scaled(torch.tensor(repeated).double()))
    return sorted(score.argsort(descending=True)[:count].tolist())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("dpp", most_volume),
        ("mmr", most_relevant),
        ("ktv", key_tokens),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_it_is_its_formula(name: str, reference: Any, seed: int) -> None:
    rows, size = noise(seed, size=12), COUNT / NUM_TOKENS
    assert kept_of(name, make_tokens(rows), size) == reference(rows, COUNT)


@pytest.mark.parametrize(
    ("name", "degrees", "kept"),
    [
        ("dpp", (0, 0, 0, 80, 0), [0, 3]),
        ("mmr", (0, 0, 90, 0, 5), [0, 2]),
        ("ktv", (0, 0, 0, 60, 90), [3, 4]),
    ],
)
def test_two_of_five(name: str, degrees: tuple[float, ...], kept: list[int]) -> None:
    assert kept_of(name, angles(*degrees), 0.4) == kept


@pytest.mark.parametrize("name", ["divprune", "dpp", "mmr", "ktv", "vidcom2"])
def test_of_rows_that_are_alike_the_first_ones_stay(name: str) -> None:
    assert kept_of(name, angles(20, 20, 20, 20, 20), 0.4) == [0, 1]


def test_tome_merges_what_is_alike_into_a_real_place() -> None:
    tokens = make_tokens([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0]])
    kept = build_reducer({"name": "tome", "keep_ratio": 0.6})(tokens, ReductionContext())
    assert kept.indices.tolist() == [0, 2, 4]
    assert kept.weight.tolist() == [2, 2, 1]
    assert torch.allclose(kept.features, torch.tensor([[1, 0.05], [0.05, 1], [-1, 0]]))


def test_tome_is_its_rounds_written_plainly() -> None:
    for seed in range(5):
        rows = noise(seed)
        groups = [[number] for number in range(len(rows))]

        def mean(group: list[int], rows: Tensor = rows) -> Tensor:
            return rows[group].mean(dim=0)

        while len(groups) > COUNT:
            staying, leaving = groups[0::2], groups[1::2]
            best = []
            for group in leaving:
                alike = [cosine(mean(group), mean(other)) for other in staying]
                best.append((max(alike), alike.index(max(alike)), group))
            best.sort(key=lambda each: -each[0])
            gone = best[: len(groups) - COUNT]
            joins = [(staying[into], group) for _, into, group in gone]
            groups = [each for each in groups if not any(each is group for _, group in joins)]
            for into, group in joins:
                into.extend(group)
        reducer = build_reducer({"name": "tome", "keep_ratio": COUNT / NUM_TOKENS})
        kept = reducer(make_tokens(rows), ReductionContext())
        assert kept.indices.tolist() == [group[0] for group in groups]
        assert torch.allclose(kept.features, torch.stack([mean(group) for group in groups]))
        assert kept.weight.tolist() == [len(group) for group in groups]


def test_evs_keeps_its_share_of_the_stream_whatever_the_scene_does() -> None:
    generator = torch.Generator().manual_seed(0)
    reducer = build_reducer({"name": "evs", "keep_ratio": 0.2})
    shown, clips = torch.randn(50, 8, generator=generator), []
    for number in range(600):
        calm = 0.02 if (number // 150) % 2 else 0.5
        shown = directions(shown + calm * torch.randn(50, 8, generator=generator))
        clips.append(make_tokens(shown))
    kept = [len(rows) for rows in reduce_stream(reducer, clips)]
    assert kept[0] == 50
    for quarter in range(4):
        late = kept[150 * quarter + 75 : 150 * quarter + 150]
        assert 0.12 < sum(late) / len(late) / 50 < 0.28, "also in a calm that follows a storm"


def test_evs_begins_with_the_most_changed_of_five() -> None:
    reducer = build_reducer({"name": "evs", "keep_ratio": 0.4})
    clips = [angles(0, 0, 0, 0, 0), angles(0, 50, 10, 90, 20), angles(0, 50, 10, 90, 20)]
    assert reduce_stream(reducer, clips) == [[0, 1, 2, 3, 4], [1, 3], []]


def test_vidcom2_keeps_what_is_unlike_clip_and_stream() -> None:
    generator = torch.Generator().manual_seed(1)
    scene = torch.randn(1, 16, generator=generator) + 0.1 * torch.randn(5, 16, generator=generator)
    odd = scene.clone()
    odd[3] = torch.randn(16, generator=generator)
    assert kept_of("vidcom2", make_tokens(odd), 0.2) == [3]


def test_vidcom2_is_its_kernel_written_plainly() -> None:
    rows = noise(0, size=8)
    channels = rows.var(dim=0).argsort()[:4]
    unit = torch.stack([row[channels] / row[channels].norm() for row in rows])

    def alike(one: Tensor, other: Tensor) -> float:
        square = float((one - other).square().sum())
        return sum(math.exp(-square / (2 * 2.0**power)) for power in range(-3, 2))

    score = torch.tensor([alike(row, unit.mean(dim=0)) for row in unit])
    expected = sorted(score.argsort()[:COUNT].tolist())
    assert kept_of("vidcom2", make_tokens(rows), COUNT / NUM_TOKENS) == expected


def test_vidcom2_gives_an_unusual_clip_more() -> None:
    generator = torch.Generator().manual_seed(2)
    usual = torch.randn(40, 16, generator=generator)
    clips = [
        make_tokens(usual + 0.05 * torch.randn(40, 16, generator=generator)) for _ in range(20)
    ]
    clips.append(make_tokens(torch.randn(40, 16, generator=generator).abs()))
    kept = [len(rows) for rows in reduce_stream(build_reducer({"name": "vidcom2"}), clips)]
    assert kept[-1] == 20 > max(kept[:-1])
