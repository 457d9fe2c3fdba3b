"""Memory under any sequence of what can happen to it, with and without tiers below the device:
index and blocks agree (I20), every budget holds (I23), recall is brute force, and what was written
into a block stays as it is (I16) or goes for good, with its file. Budgets that streams share, forms
and damage are in `test_tiers.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvlm.remember import (
    Counters,
    KVMemory,
    Rung,
    Snapshot,
    SnapshotFolder,
    Storage,
    shelves,
)
from streamvlm.remember.index import BlockIndex
from streamvlm.remember.stored import StoredBlock
from streamvlm.remember.tiers import Tiers
from streamvlm.vlm.positions import Cursor
from tests.conftest import at, tiny_vlm
from tests.remember.test_memory import segment
from tests.remember.test_tiers import TOKENS, lower, make_memory

BUDGET_TOKENS = 120
FAMILY = "qwen3-vl"
ABOUT: dict[str, str | int] = {"stream": "door"}
CPU = torch.device("cpu")
TOKEN_BYTES = tiny_vlm(FAMILY).kv_bytes_per_token
DISK_BYTES = 150 * TOKEN_BYTES
LADDERS = [(), lower(60 * TOKEN_BYTES), lower(60 * TOKEN_BYTES, DISK_BYTES)]

operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 60)),
        st.tuples(st.just("recall"), st.integers(0, 12)),
        st.tuples(st.just("evict"), st.integers(0, BUDGET_TOKENS)),
        st.tuples(st.just("erase"), st.integers(0, 2**8 - 1)),
        st.tuples(st.just("restart"), st.integers(20, BUDGET_TOKENS)),
    ),
    max_size=20,
)
Operations = list[tuple[str, int]]


@dataclass
class Lived:
    """A memory, and what is known about it from outside."""

    folder: Path
    ladder: tuple[Rung, ...]
    written: dict[int, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    count: int = 0

    def __post_init__(self) -> None:
        self.memory = self.empty()

    def empty(self) -> KVMemory:
        storage = Storage(lower=self.ladder, folder=self.folder)
        return make_memory(tiny_vlm(FAMILY), storage, budget_blocks=BUDGET_TOKENS / TOKENS)

    def append(self, num_tokens: int) -> None:
        block = self.memory.append(*segment(self.count, num_tokens))
        assert block.block_id not in self.written, "an id came twice"
        kv = self.memory.find(torch.zeros(64), 10_000).blocks[-1].kv
        self.written[block.block_id] = kv.keys.clone(), kv.values.clone()

    def recall(self, num_blocks: int) -> None:
        probe = torch.randn(64, generator=torch.Generator().manual_seed(self.count))
        before = self.memory.blocks
        scores = {b.block_id: float(b.summary.mean.flatten() @ probe) for b in before}
        best = sorted(scores, key=lambda block_id: (-scores[block_id], block_id))[:num_blocks]
        found = self.memory.recall(probe, num_blocks)
        assert self.memory.blocks == before
        assert [block.block_id for block in found.blocks] == sorted(best)
        assert found.scores == pytest.approx([scores[i] for i in sorted(best)], abs=1e-4)

    def evict(self, num_tokens: int) -> None:
        self.memory.evict(num_tokens * TOKEN_BYTES)
        assert self.memory.num_bytes <= num_tokens * TOKEN_BYTES

    def erase(self, which: int) -> None:
        ids = [b.block_id for i, b in enumerate(self.memory.blocks) if which >> i & 1]
        self.memory.erase(ids)
        assert not {block.block_id for block in self.memory.blocks} & set(ids)

    def restart(self, budget_tokens: int) -> None:
        """With less room than before, as after a change of the config."""
        opened = SnapshotFolder(self.folder, ABOUT)
        opened.load(2**40, CPU, 2**40)
        opened.save(snapshot_of(self.memory))
        found = SnapshotFolder(self.folder, ABOUT).load(
            budget_tokens * TOKEN_BYTES, CPU, DISK_BYTES
        )
        assert found is not None
        self.memory = self.empty()
        self.memory.restore(found.blocks, found.next_block_id, found.num_evicted)

    def check(self) -> None:
        """After every operation."""
        self.memory.check()
        assert self.memory.num_bytes <= self.memory.budget_bytes
        assert not self.memory.strays(), "a file stays behind its block"
        blocks: tuple[StoredBlock, ...] = self.memory.blocks
        here = {block.block_id for block in blocks}
        assert not self.gone & here, "what was gone is back"
        self.gone = set(self.written) - here
        found = self.memory.find(torch.zeros(64), 10_000).blocks
        assert [block.block_id for block in found] == sorted(here)
        for block in found:
            keys, values = self.written[block.block_id]
            assert torch.equal(block.kv.keys, keys) and torch.equal(block.kv.values, values)


def snapshot_of(memory: KVMemory) -> Snapshot:
    return Snapshot(
        blocks=memory.blocks,
        next_block_id=memory.next_block_id,
        cursor=Cursor(),
        policy="keep",
        seen_until=at(0.0),
        next_clip_index=0,
        unkept=None,
        gaps=(),
        counters=Counters(),
        num_evicted=memory.num_evicted,
    )


def live(todo: Operations, ladder: tuple[Rung, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lived = Lived(Path(folder), ladder)
        for count, (verb, number) in enumerate(todo):
            lived.count = count
            getattr(lived, verb)(number)
            lived.check()


@settings(max_examples=100, deadline=None)
@given(operations, st.sampled_from(LADDERS))
def test_whatever_happens_memory_is_sound(todo: Operations, ladder: tuple[Rung, ...]) -> None:
    """I20 and I23: append, recall, evict, erase, snapshot and restore, in any order."""
    live(todo, ladder)


def index_keeps_what_is_removed() -> object:
    return patch.object(BlockIndex, "remove", lambda self, block_id: None)


def nothing_goes_down_for_a_new_block() -> object:
    return patch.object(Tiers, "keep_within", lambda self, *_, **__: [])


def erased_blocks_stay_in_the_books() -> object:
    def planted(self: KVMemory, block_ids: list[int]) -> None:
        for block_id in block_ids:
            self._tiers.blocks.pop(block_id)
            self._index.remove(block_id)

    return patch.object(KVMemory, "erase", planted)


def erased_blocks_leave_their_files() -> object:
    return patch.object(shelves, "_unlink", lambda path: None)


def blocks_are_restored_without_their_index() -> object:
    def planted(self: KVMemory, blocks: tuple[StoredBlock, ...], next_id: int, _: int) -> None:
        for block in blocks:
            self._tiers.enter(block, taking=False)
        self._next_id = next_id

    return patch.object(KVMemory, "restore", planted)


A_LIFE: Operations = [
    ("append", 50), ("append", 60), ("recall", 1), ("append", 40), ("evict", 0), ("append", 50),
    ("erase", 1), ("recall", 3), ("restart", 60), ("recall", 2), ("evict", 0),
]  # fmt: skip


@pytest.mark.parametrize(
    "plant",
    [
        index_keeps_what_is_removed,
        nothing_goes_down_for_a_new_block,
        erased_blocks_stay_in_the_books,
        erased_blocks_leave_their_files,
        blocks_are_restored_without_their_index,
    ],
)
def test_the_check_fails_on_a_planted_bug(plant: Callable[[], object]) -> None:
    live(A_LIFE, LADDERS[-1])
    with plant(), pytest.raises(AssertionError):  # type: ignore[attr-defined]
        live(A_LIFE, LADDERS[-1])
