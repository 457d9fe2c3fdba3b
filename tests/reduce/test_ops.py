"""Choosing, keeping and comparing rows."""

from __future__ import annotations

import pytest
import torch
from made_tokens import angles, make_tokens

from streamvlm.reduce.base import num_kept
from streamvlm.reduce.ops import (
    cosine_distance,
    cosine_distances,
    evenly_spaced,
    keep_rows,
    neighbour_distance,
    row_lengths,
    strongest_rows,
)

FIVE = make_tokens(torch.arange(10.0).view(5, 2), deepstack=torch.arange(20.0).view(2, 5, 2))


def test_keep_rows_sorts_and_carries_deepstack() -> None:
    kept = keep_rows(FIVE, torch.tensor([4, 0, 2]))
    assert kept.indices.tolist() == [0, 2, 4]
    assert kept.features.tolist() == [[0, 1], [4, 5], [8, 9]]
    assert kept.cells.tolist() == [[0, 0, 0], [0, 0, 2], [0, 0, 4]]
    assert kept.deepstack is not None
    assert kept.deepstack[1].tolist() == [[10, 11], [14, 15], [18, 19]]


@pytest.mark.parametrize("rows", [[0, 0], [-1], [5], [3, 1, 3]])
def test_keep_rows_refuses_rows_that_are_not_there_or_come_twice(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="distinct and in"):
        keep_rows(FIVE, torch.tensor(rows))


def test_keep_rows_does_not_share_memory_with_the_clip() -> None:
    kept = keep_rows(FIVE, torch.arange(5))
    assert kept.features.data_ptr() != FIVE.features.data_ptr()


@pytest.mark.parametrize("total", [0, 1, 2, 7, 64])
def test_evenly_spaced_rows_are_distinct_and_centred(total: int) -> None:
    for count in range(total + 1):
        rows = evenly_spaced(total, count)
        assert len(rows) == count
        assert (rows.diff() > 0).all() and (rows >= 0).all() and (rows < total).all()
        if count:
            assert abs(rows.double().mean().item() - (total - 1) / 2) <= 0.5


@pytest.mark.parametrize(
    ("at_least", "at_most", "rows"),
    [(0, None, [3, 1]), (3, None, [3, 1, 0]), (0, 1, [3]), (4, 2, [3, 1]), (9, None, [3, 1, 0, 2])],
)
def test_strongest_rows_keep_their_number_within_bounds(
    at_least: int, at_most: int | None, rows: list[int]
) -> None:
    keep = torch.tensor([False, True, False, True])
    strength = torch.tensor([5.0, 1.0, 5.0, 2.0])
    assert strongest_rows(keep, strength, at_least=at_least, at_most=at_most).tolist() == rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_cosine_distance_is_one_minus_the_cosine(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 50, 7, generator=generator).to(dtype)
    expected = 1 - torch.cosine_similarity(left.double(), right.double())
    torch.testing.assert_close(cosine_distance(left, right).double(), expected, atol=1e-6, rtol=0)
    assert (cosine_distance(left, left) == 0).all()


def test_cosine_distance_does_not_depend_on_length() -> None:
    left = angles(0, 0, 0).features * torch.tensor([[1e-4], [1.0], [1e4]])
    assert torch.allclose(cosine_distance(left, angles(60, 60, 60).features), torch.tensor(0.5))


def test_a_zero_vector_resembles_nothing() -> None:
    zero, one = torch.zeros(1, 3), torch.ones(1, 3)
    for left, right in [(zero, one), (one, zero), (zero, zero)]:
        assert cosine_distance(left, right).tolist() == [1.0]


@pytest.mark.parametrize("grid_thw", [(1, 1, 1), (1, 1, 6), (1, 6, 1), (1, 4, 5), (2, 3, 4)])
def test_neighbour_distance_equals_a_search_of_the_nine_cells(
    grid_thw: tuple[int, int, int],
) -> None:
    generator = torch.Generator().manual_seed(0)
    size = grid_thw[0] * grid_thw[1] * grid_thw[2]
    left, right = torch.randn(2, size, 4, generator=generator)
    cells = make_tokens(left, grid_thw=grid_thw).cells
    apart = (cells[:, None] - cells[None]).abs()  # [N, N, 3]
    is_neighbour = (apart[..., 0] == 0) & (apart[..., 1] <= 1) & (apart[..., 2] <= 1)
    cosine = torch.cosine_similarity(left[:, None], right[None], dim=-1)
    expected = (1 - cosine).masked_fill(~is_neighbour, torch.inf).amin(dim=1)
    torch.testing.assert_close(neighbour_distance(left, right, grid_thw), expected)


def test_a_ratio_becomes_a_count_in_one_way() -> None:
    assert [num_kept(5, ratio) for ratio in (0.01, 0.3, 0.5, 1.0)] == [1, 2, 3, 5]
    assert num_kept(0, 1.0) == 0
    assert [num_kept(5, 1.0, cap) for cap in (0, 3, 9)] == [0, 3, 5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_cosine_distance_is_exact_at_the_size_of_real_features(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    left = 30 * torch.randn(300, 4096, generator=generator).to(dtype)
    right = left + (0.01 * left.abs().mean()).to(dtype) * torch.randn(
        300, 4096, generator=generator
    ).to(dtype)
    before = left.clone(), right.clone()
    expected = 1 - torch.cosine_similarity(left.double(), right.double())
    found = cosine_distance(left, right)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)
    assert (cosine_distance(left, left.clone()) == 0).all()
    parts = [cosine_distance(*part) for part in zip(left.split(7), right.split(7), strict=True)]
    assert torch.equal(torch.cat(parts), found), "rows that are compared together"
    assert torch.equal(left, before[0]) and torch.equal(right, before[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lengths_that_were_kept_give_the_same_distances(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    before, clips = torch.randn(2, 3, 150, 4096, generator=generator).to(dtype)
    before[0, 3], clips[1, 5] = 0, 0
    found, lengths = cosine_distances([*clips], [*before], [row_lengths(each) for each in before])
    assert torch.equal(lengths, row_lengths(clips))
    assert torch.equal(found, cosine_distances([*clips], [*before])[0])
    for number, pair in enumerate(zip(clips, before, strict=True)):
        assert torch.equal(found[number], cosine_distance(*pair))
        assert torch.equal(found[number], cosine_distance(*pair[::-1]))
    assert found[0, 3] == found[1, 5] == 1


def test_one_row_is_compared_with_all_as_its_copies_are() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 150, 4096, generator=generator).bfloat16()
    alone = cosine_distance(left, right[:1])
    assert torch.equal(alone, cosine_distance(left, right[:1].expand_as(left)))
