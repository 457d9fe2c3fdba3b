"""The index finds what is in it, and nothing else, exactly or nearly (I20, I24)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvlm.remember.index import BlockIndex
from streamvlm.remember.score import RULES
from streamvlm.remember.summary import summarise
from streamvlm.remember.table import SummaryTable
from streamvlm.types import Summary

SIZE = 32


def point(*numbers: float) -> Summary:
    """A block of one token."""
    return summarise(torch.tensor([[numbers]]), torch.ones(1, dtype=torch.bool))


def block(number: int, num_tokens: int = 6) -> Summary:
    """Tokens of a block around a place of its own."""
    generator = torch.Generator().manual_seed(number)
    keys = torch.randn(1, 1, SIZE, generator=generator) * 2
    keys = keys + torch.randn(num_tokens, 1, SIZE, generator=generator)
    return summarise(keys, torch.ones(num_tokens, dtype=torch.bool))


def probe(number: int) -> torch.Tensor:
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(10_000 + number))


def best(summaries: dict[int, Summary], rule: str, asked: torch.Tensor, count: int) -> list[int]:
    """By brute force."""
    table = SummaryTable()
    for block_id in sorted(summaries):
        table.add(block_id, summaries[block_id])
    ids, stack = table.stack()
    scores = dict(zip(ids.tolist(), RULES[rule](asked, stack).tolist(), strict=True))
    return sorted(scores, key=lambda each: (-scores[each], each))[:count]


def test_equal_scores_go_by_id() -> None:
    index = BlockIndex()
    for block_id in (7, 3, 5):
        index.add(block_id, point(1.0, 0.0))
    assert index.search(torch.tensor([2.0, 0.0]), 2) == [(3, 2.0), (5, 2.0)]


def test_what_was_removed_is_not_found() -> None:
    index = BlockIndex()
    index.add(1, point(1.0, 0.0))
    index.add(2, point(0.5, 0.0))
    index.remove(1)
    assert index.search(torch.tensor([1.0, 0.0]), 9) == [(2, 0.5)]
    assert index.block_ids() == {2}
    with pytest.raises(KeyError):
        index.remove(1)


def test_an_empty_index_finds_nothing() -> None:
    index = BlockIndex()
    assert index.search(torch.zeros(4), 3) == []
    index.add(1, point(1.0, 0.0))
    index.remove(1)
    assert index.search(torch.zeros(2), 3) == []


def test_only_what_is_asked_for_is_found() -> None:
    index = BlockIndex()
    for block_id in range(4):
        index.add(block_id, point(float(block_id), 0.0))
    asked = torch.tensor([1.0, 0.0])
    assert index.search(asked, 2, among=[0, 2]) == [(2, 2.0), (0, 0.0)]
    assert index.search(asked, 2, among=[]) == []


def test_a_rule_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="no scoring rule 'best'; allowed: mean, cosine"):
        BlockIndex("best")


def test_a_sample_is_even_over_time() -> None:
    index = BlockIndex()
    for block_id in range(10):
        index.add(block_id, point(1.0, 0.0))
    assert index.sample(10) == list(range(10))
    assert index.sample(4) == [0, 3, 6, 9]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "search"]), st.integers(0, 200))),
    st.sampled_from(sorted(RULES)),
)
def test_it_is_brute_force_over_what_is_left(todo: list[tuple[str, int]], rule: str) -> None:
    index, left = BlockIndex(rule), dict[int, Summary]()
    for number, (verb, chosen) in enumerate(todo):
        if verb == "add":
            left[number] = block(chosen % 5, 1 + chosen % 6)  # some are equal
            index.add(number, left[number])
        elif verb == "remove" and left:
            gone = sorted(left)[chosen % len(left)]
            del left[gone]
            index.remove(gone)
        elif left:
            found = index.search(probe(chosen), 1 + chosen % 9)
            assert [each for each, _ in found] == best(left, rule, probe(chosen), 1 + chosen % 9)
        assert index.block_ids() == set(left)


def nearly(num_blocks: int = 500) -> tuple[BlockIndex, dict[int, Summary]]:
    """An index with an inverted file, of blocks that went and came around it."""
    index, left = BlockIndex(exact_vectors=1_000), {}
    for number in range(num_blocks):
        left[number] = block(number)
        index.add(number, left[number])
    for number in range(0, 60, 2):  # while it is being built, or after
        del left[number]
        index.remove(number)
    assert index.settle()
    for number in range(100, 160, 2):
        del left[number]
        index.remove(number)
    for number in range(num_blocks, num_blocks + 50):
        left[number] = block(number)
        index.add(number, left[number])
    return index, left


def test_beyond_the_exact_size_nearly_the_best_are_found_and_nothing_that_went() -> None:
    index, left = nearly()
    assert index.block_ids() == set(left)
    right = 0
    for number in range(50):
        found = index.search(probe(number), 8)
        assert len({each for each, _ in found} & set(left)) == 8
        assert found == sorted(found, key=lambda hit: (-hit[1], hit[0]))
        right += len({each for each, _ in found} & set(best(left, "mean", probe(number), 8)))
    assert right / (50 * 8) > 0.9


def test_what_is_newer_than_the_inverted_file_is_found() -> None:
    index, left = nearly()
    for number in (510, 549):
        asked = left[number].mean.flatten()
        assert index.search(asked, 1)[0][0] == best(left, "mean", asked, 1)[0]


def test_asking_for_all_gives_all() -> None:
    index, left = nearly()
    assert {each for each, _ in index.search(probe(0), 10_000)} == set(left)


def test_a_memory_that_shrinks_is_exact_again() -> None:
    index, left = nearly()
    for number in sorted(left)[:-100]:
        index.remove(number)
        del left[number]
    assert not index.settle()
    for number in range(20):
        found = [each for each, _ in index.search(probe(number), 8)]
        assert found == best(left, "mean", probe(number), 8)
