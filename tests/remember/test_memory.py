"""Memory, one step at a time: what each does, refuses, and leaves as it was. Any sequence of them
is in `test_any_order.py`.
"""

from __future__ import annotations

import pytest
import torch

from streamvlm.errors import CapacityError
from streamvlm.remember import KVMemory, RecallSettings
from streamvlm.remember.stored import StoredBlock
from streamvlm.types import InputTokens, Interval, Recall
from streamvlm.vlm.positions import text_positions
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import at, tiny_vlm


def make_memory(vlm: QwenVL, budget_bytes: int, local_blocks: int = 2) -> KVMemory:
    prefix, _ = vlm.lay_out_prefix()
    sinks = vlm.prefill(prefix, vlm.open_context([])).kv
    return KVMemory(
        vlm,
        sinks,
        budget_bytes=budget_bytes,
        local_blocks=local_blocks,
        recall=RecallSettings(score="mean"),
    )


def segment(index: int, num_tokens: int) -> tuple[InputTokens, Interval]:
    """Made-up visual tokens, one block's worth."""
    generator = torch.Generator().manual_seed(index)
    inputs = InputTokens(
        embeddings=torch.randn(num_tokens, 128, generator=generator),
        positions=text_positions(10 + index * 100, num_tokens),
        is_visual=torch.ones(num_tokens, dtype=torch.bool),
    )
    return inputs, Interval(start=at(index), end=at(index + 1))


def test_the_budget_holds_while_a_block_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny_vlm("qwen3-vl")
    memory = make_memory(vlm, 100 * vlm.kv_bytes_per_token)
    most = 0
    book = memory._tiers._book

    def watched(block: StoredBlock, num_bytes: int) -> None:
        nonlocal most
        most = max(most, memory.num_bytes + num_bytes)
        book(block, num_bytes)

    monkeypatch.setattr(memory._tiers, "_book", watched)
    for index in range(10):
        memory.append(*segment(index, 40))
    assert 0 < most <= memory.budget_bytes
    assert [block.block_id for block in memory.blocks] == [8, 9]
    assert memory.num_evicted == 8


def test_bytes_are_what_the_model_says(vlm: QwenVL) -> None:
    memory = make_memory(vlm, 2**30)
    block = memory.append(*segment(0, 17))
    assert block.kv.num_bytes == memory.num_bytes == 17 * vlm.kv_bytes_per_token


def test_a_segment_larger_than_the_budget_is_refused_and_changes_nothing() -> None:
    vlm = tiny_vlm("qwen3-vl")
    memory = make_memory(vlm, 10 * vlm.kv_bytes_per_token)
    memory.append(*segment(0, 9))
    with pytest.raises(CapacityError, match="11 tokens"):
        memory.append(*segment(1, 11))
    memory.check()
    assert [block.block_id for block in memory.blocks] == [0]


def test_extend_moves_the_end_of_the_newest_block_only() -> None:
    memory = make_memory(tiny_vlm("qwen3-vl"), 2**30)
    memory.append(*segment(0, 5))
    memory.append(*segment(1, 5))
    epoch = memory.blocks
    memory.extend(at(9.0))
    assert [block.interval.end.pts_seconds for block in memory.blocks] == [1.0, 9.0]
    assert epoch[1].interval.end.pts_seconds == 2.0


def test_the_books_show_a_planted_error() -> None:
    memory = make_memory(tiny_vlm("qwen3-vl"), 2**30)
    memory.append(*segment(0, 5))
    memory._index.remove(0)
    with pytest.raises(AssertionError, match="index and blocks differ"):
        memory.check()


def test_candidates_are_the_best_that_fit_together_but_never_too_few() -> None:
    vlm = tiny_vlm("qwen3-vl")
    memory = make_memory(vlm, 1000 * vlm.kv_bytes_per_token)
    for index in range(6):
        memory.append(*segment(index, 10))
    probe = torch.randn(64, generator=torch.Generator().manual_seed(1))
    scores = {b.block_id: float(b.summary.mean.flatten() @ probe) for b in memory.blocks}
    order = sorted(scores, key=lambda block_id: -scores[block_id])
    for max_tokens, count in ((30, 3), (39, 3), (10, 2), (0, 2), (1000, 6)):
        found = memory.find(probe, 2, max_tokens=max_tokens)
        assert [block.block_id for block in found.blocks] == sorted(order[:count])


def test_recall_within_some_stretches_finds_what_overlaps_them() -> None:
    vlm = tiny_vlm("qwen3-vl")
    memory = make_memory(vlm, 100 * vlm.kv_bytes_per_token)
    for index in range(5):
        memory.append(*segment(index, 4))
    probe = memory.blocks[0].summary.mean.flatten()
    spans = [
        (each.interval.start.pts_seconds, each.interval.end.pts_seconds) for each in memory.blocks
    ]
    found = memory.recall(probe, 100, within=[spans[1], (spans[3][0], spans[3][0] + 0.1)])
    assert ids(found) == [1, 3]
    assert ids(memory.recall(probe, 1, within=[spans[1]])) == [1]
    assert memory.recall(probe, 100, within=[(spans[-1][1], 1e9)]).blocks == ()
    assert memory.recall(probe, 100, within=[]).blocks == ()
    assert ids(memory.recall(probe, 100, within=[(0.0, 1e9)])) == [0, 1, 2, 3, 4]


def ids(found: Recall) -> list[int]:
    return [block.block_id for block in found.blocks]
