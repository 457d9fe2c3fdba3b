"""A memory and a budget, whatever chooses: blocks, clips, text, means."""

from __future__ import annotations

import pytest
import torch

from streamvlm.remember import RecallSettings
from streamvlm.remember.choosing import CHOICES
from streamvlm.remember.recall import fit_to_budget
from streamvlm.types import KVBlock, Recall
from tests.conftest import tiny_vlm
from tests.remember.test_recall import PROBE, Clips, index_keys, made, memory_of, toward

every_choice = pytest.mark.parametrize("name", CHOICES)

CLIPS: list[Clips] = [
    [(2, [0.1, 0.9, 0.4]), (1, [0.3, 0.2])],
    [(2, [])],
    [(0, [0.0, 0.0]), (1, []), (3, [0.8, 0.7, 0.95])],
    [(1, [0.5] * 6)],
]
BLOCKS = [made(3 * number, clips) for number, clips in enumerate(CLIPS)]
TOTAL = sum(len(block.kv) for block in BLOCKS)


def fitted(name: str, max_tokens: int, blocks: list[KVBlock]) -> Recall:
    recall = Recall(blocks=tuple(blocks), scores=tuple(float(b.block_id) for b in blocks))
    return fit_to_budget(
        recall, PROBE, index_keys, RecallSettings(choice=name, max_tokens=max_tokens)
    )


def places(block: KVBlock) -> list[int]:
    """Which of the made tokens are left, read from the ledger."""
    return [int(each) - 1000 * block.block_id for each in block.kv.positions[:, 0]]


def clips_of(block: KVBlock) -> list[set[int]]:
    ends = torch.tensor(block.clip_lengths).cumsum(dim=0).tolist()
    return [
        set(range(end - length, end)) for end, length in zip(ends, block.clip_lengths, strict=True)
    ]


@every_choice
@pytest.mark.parametrize("max_tokens", range(1, TOTAL, 3))
def test_the_budget_holds_and_clips_keep_their_text(name: str, max_tokens: int) -> None:
    found = fitted(name, max_tokens, BLOCKS)
    assert sum(len(block.kv) for block in found.blocks) <= max_tokens
    ids = [block.block_id for block in found.blocks]
    assert ids == sorted(ids) and found.scores == tuple(ids)
    for block in found.blocks:
        (whole,) = (each for each in BLOCKS if each.block_id == block.block_id)
        kept = places(block)
        assert kept == sorted(kept) and torch.equal(block.is_visual, whole.is_visual[kept])
        text = set((~whole.is_visual).nonzero()[:, 0].tolist())
        lengths = []
        for clip in clips_of(whole):
            if (clip - text) & {*kept}:
                assert clip & text <= {*kept}
                lengths.append(len(clip & {*kept}))
            else:
                assert not clip & {*kept}
        assert block.clip_lengths == tuple(lengths)


@every_choice
def test_what_fits_is_untouched_and_nothing_changes(name: str) -> None:
    before = [block.kv.keys.clone() for block in BLOCKS]
    assert fitted(name, TOTAL, BLOCKS).blocks == tuple(BLOCKS)
    fitted(name, TOTAL // 2, BLOCKS)
    for block, keys in zip(BLOCKS, before, strict=True):
        assert torch.equal(block.kv.keys, keys)


@every_choice
def test_where_nothing_is_visual_nothing_comes_back(name: str) -> None:
    assert fitted(name, 3, [made(1, [(2, []), (2, [])])]).blocks == ()


def test_a_mean_is_of_keys_and_values_at_the_place_of_a_token() -> None:
    first, second = made(1, [(0, [1.0, 1.0])]), made(2, [(1, [0.2, 0.2, 0.2])])
    key_clip, mean = fitted("vilamp", 4, [first, second]).blocks
    assert key_clip is first
    assert places(mean)[0] == 0 and len(mean.kv) == 2
    assert torch.equal(mean.kv.keys[:, :, 0], second.kv.keys[:, :, 0])
    # A token's value is its number, so its share in the mean follows from the mean of all layers.
    value = mean.kv.values[0, 0, 1, 0]
    assert 1 <= value <= 3 and torch.allclose(mean.kv.values[:, :, 1], value)
    low, high = second.kv.keys[:, :, 1:].aminmax(dim=2)
    # Rounding: what has nearly all of the weight may be the highest of all.
    assert (low - 1e-6 <= mean.kv.keys[:, :, 1]).all()
    assert (mean.kv.keys[:, :, 1] <= high + 1e-6).all()


@every_choice
def test_a_memory_recalls_as_it_is_set(name: str) -> None:
    memory = memory_of(tiny_vlm("qwen3-vl"), 4, max_tokens=7, choice=name)
    before = [block.kv for block in memory.blocks]
    recall = memory.recall(toward(memory, 2), 4)
    assert 0 < sum(len(block.kv) for block in recall.blocks) <= 7
    assert [block.kv for block in memory.blocks] == before
