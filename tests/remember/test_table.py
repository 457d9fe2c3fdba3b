"""Stacked summaries stay those of their blocks, whatever comes and goes."""

from __future__ import annotations

import pytest
import torch

from streamvlm.remember.summary import summarise
from streamvlm.remember.table import SummaryTable
from streamvlm.types import Summary


def of(number: int) -> Summary:
    generator = torch.Generator().manual_seed(number)
    num_tokens = 1 + number % 6
    keys = 1 + torch.rand(num_tokens, 2, 3, generator=generator)
    return summarise(keys, torch.ones(num_tokens, dtype=torch.bool))


def assert_holds(table: SummaryTable, left: set[int]) -> None:
    ids, stack = table.stack()
    assert sorted(ids.tolist()) == sorted(left) and len(table) == len(stack) == len(left)
    for row, block_id in enumerate(ids.tolist()):
        summary, count = of(block_id), int(stack.num_keys[row])
        assert torch.equal(stack.means[row], summary.mean)
        assert torch.equal(stack.lows[row], summary.low)
        assert torch.equal(stack.highs[row], summary.high)
        assert torch.equal(stack.keys[row, :count], summary.keys)


def test_rows_stay_those_of_their_blocks() -> None:
    table, left = SummaryTable(), set[int]()
    for number in range(200):  # more than the first rows
        table.add(number, of(number))
        left.add(number)
        if number % 3 == 0:
            gone = sorted(left)[number % len(left)]
            table.remove(gone)
            left.remove(gone)
        if left and number % 20 == 0:
            assert_holds(table, left)
    assert_holds(table, left)
    some = sorted(left)[5:9]
    assert table.stack(some)[0].tolist() == some


def test_nothing_is_left_of_what_was_removed() -> None:
    table = SummaryTable()
    for number in range(70):  # more than the first rows
        table.add(number, of(number))
    for number in (1, 69, 0, *range(2, 69)):
        table.remove(number)
    assert table._stack is not None
    assert not any(
        bool(part.any()) for part in (table._stack.means, table._stack.keys, table._stack.highs)
    )
    with pytest.raises(KeyError):
        table.remove(1)
