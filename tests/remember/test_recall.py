"""Recall to a budget of tokens, behind a gate, within stretches of time (I19, I24)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from streamvlm.remember import KVMemory, RecallSettings
from streamvlm.remember.recall import fit_to_budget
from streamvlm.remember.summary import summarise
from streamvlm.types import Interval, KVBlock, RawKV, Recall
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import at, tiny_vlm
from tests.remember.test_memory import segment

GROUPS, HEAD_SIZE, INDEX_LAYER = 2, 3, 1
PROBE = torch.tensor([1.0, 0, 0, 0, 0, 0])
"""A token's score is the first number of its key."""

Clips = list[tuple[int, list[float]]]
"""(tokens of text in front, scores of the visual tokens) of each clip."""


def made(block_id: int, clips: Clips) -> KVBlock:
    """A block of which every number tells the token that it belongs to."""
    visual = [[False] * text + [True] * len(scores) for text, scores in clips]
    is_visual = torch.tensor([each for clip in visual for each in clip])
    count = len(is_visual)
    keys = torch.randn(4, GROUPS, count, HEAD_SIZE, generator=torch.Generator().manual_seed(1))
    keys[INDEX_LAYER, 0, is_visual, 0] = torch.tensor([s for _, scores in clips for s in scores])
    keys[INDEX_LAYER, 0, ~is_visual, 0] = 99.0  # text never competes
    marks = torch.arange(count)
    kv = RawKV(
        keys=keys,
        values=marks.float()[None, None, :, None].expand(4, GROUPS, -1, HEAD_SIZE),
        positions=(1000 * block_id + marks)[:, None].expand(-1, 3),
    )
    return KVBlock(
        block_id=block_id,
        kv=kv,
        summary=summarise(index_keys(kv), is_visual),
        interval=Interval(start=at(block_id), end=at(block_id + 1)),
        is_visual=is_visual,
        clip_lengths=tuple(text + len(scores) for text, scores in clips),
    )


def index_keys(kv: RawKV) -> Tensor:
    return kv.keys[INDEX_LAYER].transpose(0, 1)


def cut(blocks: list[KVBlock], max_tokens: int) -> list[KVBlock]:
    recall = Recall(blocks=tuple(blocks), scores=tuple(float(b.block_id) for b in blocks))
    found = fit_to_budget(recall, PROBE, index_keys, RecallSettings(max_tokens=max_tokens))
    assert found.scores == tuple(block.block_id for block in found.blocks)
    return list(found.blocks)


def kept(block: KVBlock) -> list[int]:
    """Which tokens are left, read from the ledger; keys and values must agree with it."""
    rows = (block.kv.positions[:, 0] - 1000 * block.block_id).tolist()
    assert block.kv.values[0, 0, :, 0].tolist() == rows
    assert sum(block.clip_lengths) == len(rows) == len(block.is_visual)
    return [int(row) for row in rows]


def test_the_best_tokens_stay_with_the_text_of_their_clip() -> None:
    blocks = [
        made(3, [(2, [0.1, 0.9]), (2, [0.3, 0.2])]),
        made(5, [(1, [0.0, 0.0]), (1, [0.8, 0.7, 0.95])]),
    ]
    first, second = cut(blocks, 7)
    assert kept(first) == [0, 1, 3]
    assert kept(second) == [3, 4, 5, 6]
    assert (first.clip_lengths, second.clip_lengths) == ((3,), (4,))
    assert torch.equal(first.kv.keys, blocks[0].kv.keys[:, :, [0, 1, 3]])
    assert first.is_visual.tolist() == [False, False, True]


def test_a_block_with_nothing_good_is_left_out() -> None:
    (only,) = cut([made(1, [(1, [0.1])]), made(2, [(1, [0.5])])], 3)
    assert only.block_id == 2
    assert cut([made(1, [(3, [0.1])])], 3) == []


def test_what_fits_is_untouched() -> None:
    blocks = [made(1, [(1, [0.1])]), made(2, [(1, [0.5])])]
    assert cut(blocks, 4) == blocks


def test_equal_tokens_go_by_block_and_place() -> None:
    first, second = cut([made(1, [(0, [0.5] * 3)]), made(2, [(0, [0.5] * 3)])], 4)
    assert kept(first) == [0, 1, 2]
    assert kept(second) == [0]


lengths = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.sampled_from([0.1, 0.2, 0.5]), max_size=5)),
    min_size=1,
    max_size=4,
)


def by_loops(blocks: list[KVBlock], max_tokens: int) -> dict[int, list[int]]:
    """The rule, one token after the other."""
    tokens = []
    for block in blocks:
        start = 0
        for clip, length in enumerate(block.clip_lengths):
            rows = range(start, start + length)
            text = [row for row in rows if not block.is_visual[row]]
            score = index_keys(block.kv)[:, 0, 0]
            tokens += [
                (-float(score[r]), block.block_id, r, clip, text) for r in rows if r not in text
            ]
            start += length
    left: dict[int, set[int]] = {}
    opened, spent = set(), 0
    for _, block_id, row, clip, text in sorted(tokens):
        spent += 1 + (len(text) if (block_id, clip) not in opened else 0)
        if spent > max_tokens:
            break
        opened.add((block_id, clip))
        left.setdefault(block_id, set()).update([row, *text])
    return {block_id: sorted(rows) for block_id, rows in left.items()}


@settings(max_examples=60, deadline=None)
@given(st.lists(lengths, min_size=1, max_size=4), st.integers(1, 40))
def test_it_is_the_rule_written_out(clips: list[Clips], max_tokens: int) -> None:
    wanted = [each for each in clips if sum(text + len(scores) for text, scores in each)]
    blocks = [made(number, each) for number, each in enumerate(wanted)]
    found = cut(blocks, max_tokens)
    total = sum(len(block.kv) for block in blocks)
    assert sum(len(block.kv) for block in found) <= max(max_tokens, 0)
    if total > max_tokens:
        assert {block.block_id: kept(block) for block in found} == by_loops(blocks, max_tokens)


def memory_of(vlm: QwenVL, num_blocks: int, **settings: object) -> KVMemory:
    prefix, _ = vlm.lay_out_prefix()
    sinks = vlm.prefill(prefix, vlm.open_context([])).kv
    memory = KVMemory(
        vlm,
        sinks,
        budget_bytes=2**30,
        local_blocks=0,
        recall=RecallSettings(**settings),  # type: ignore[arg-type]
    )
    for index in range(num_blocks):
        memory.append(*segment(index, 5))
    return memory


def toward(memory: KVMemory, block_id: int) -> Tensor:
    """A probe that asks for a block."""
    keys: Tensor = memory.blocks[block_id].summary.mean.flatten()
    return keys


def test_a_memory_brings_back_at_most_its_tokens() -> None:
    memory = memory_of(tiny_vlm("qwen3-vl"), 4, max_tokens=7)
    before = memory.blocks
    recall = memory.recall(toward(memory, 2), 4)
    assert 0 < sum(len(block.kv) for block in recall.blocks) <= 7
    assert memory.blocks == before
    assert all(len(block.kv) == 5 for block in memory.blocks)
    again = memory.recall(toward(memory, 2), 4)
    assert [b.kv.positions.tolist() for b in again.blocks] == [
        b.kv.positions.tolist() for b in recall.blocks
    ]


def test_only_blocks_of_the_named_times_come_back() -> None:
    memory = memory_of(tiny_vlm("qwen3-vl"), 6)
    probe = toward(memory, 0)

    def found(*within: tuple[float, float]) -> list[int]:
        return [block.block_id for block in memory.recall(probe, 9, within=within).blocks]

    assert found((1.0, 3.0), (5.5, 5.5)) == [1, 2, 5]
    assert found((50.0, 60.0)) == found() == []
    assert len(memory.recall(probe, 2, within=[(1.0, 6.0)]).blocks) == 2
    with pytest.raises(ValueError, match=r"must not end before it starts: 3\.0 to 1\.0 s"):
        found((3.0, 1.0))


def test_what_does_not_stand_out_stays_where_it_is() -> None:
    vlm = tiny_vlm("qwen3-vl")
    probe = toward(memory_of(vlm, 12), 4)
    best = memory_of(vlm, 12, gate=0.1).recall(probe, 3)
    assert best.blocks
    closed = memory_of(vlm, 12, gate=90.0)
    assert closed.recall(probe, 3).blocks == ()
    assert closed.recall(probe, 3, within=[(0.0, 99.0)]).blocks, "who names a time means history"
    assert memory_of(vlm, 7, gate=90.0).recall(probe, 3).blocks, "too few to say what is usual"
