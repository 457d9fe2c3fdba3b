"""The exact index."""

from __future__ import annotations

import pytest
import torch

from streamvlm.remember.index import BlockIndex


def test_equal_scores_go_by_id() -> None:
    index = BlockIndex(2)
    for block_id in (7, 3, 5):
        index.add(block_id, torch.tensor([1.0, 0.0]))
    assert index.search(torch.tensor([2.0, 0.0]), 2) == [(3, 2.0), (5, 2.0)]


def test_what_was_removed_is_not_found() -> None:
    index = BlockIndex(2)
    index.add(1, torch.tensor([1.0, 0.0]))
    index.add(2, torch.tensor([0.5, 0.0]))
    index.remove(1)
    assert index.search(torch.tensor([1.0, 0.0]), 9) == [(2, 0.5)]
    assert index.block_ids() == {2}
    with pytest.raises(KeyError):
        index.remove(1)


def test_an_empty_index_finds_nothing() -> None:
    assert BlockIndex(4).search(torch.zeros(4), 3) == []
