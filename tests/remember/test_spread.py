"""Positions of members, wherever a block lies: nothing but what cuts tokens cuts them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from streamvlm.errors import CapacityError
from streamvlm.pipeline import StreamPipeline
from streamvlm.remember import KVMemory, RecallSettings, Rung, SnapshotFolder, Storage, block_file
from streamvlm.remember.again import in_form
from streamvlm.remember.choosing import CHOICES
from streamvlm.remember.quantise import FORMS, Form, QuantisedKV, shrunk
from streamvlm.remember.recall import fit_to_budget
from streamvlm.remember.stored import brought_to, held_in_host
from streamvlm.remember.thin import thinned
from streamvlm.types import InputTokens, RawKV, Recall, Tier
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import clip_size, make_clip, tiny_vlm
from tests.remember.test_memory import segment
from tests.remember.test_recall import PROBE, index_keys, made
from tests.remember.test_snapshot import CPU, PLENTY, about
from tests.remember.test_snapshot import taken as snapshot_of
from tests.remember.test_tiers import TOKENS, everything, lower, make_memory
from tests.streams import ask, feed, make_pipeline, streamed_logits

MEMBERS = 3
OF_TOKENS = [form for form in FORMS if form != "pictures"]
"""What is seen again has no members: nothing was merged into it."""


def spread_of(positions: Tensor) -> Tensor:
    """Tells the token that it belongs to."""
    members = torch.arange(MEMBERS)[:, None]
    return positions[:, None] % 13 * members


def inputs_of(index: int, num_tokens: int = TOKENS) -> InputTokens:
    """One of two has a spread."""
    inputs, _ = segment(index, num_tokens)
    return replace(inputs, spread=spread_of(inputs.positions)) if index % 2 else inputs


def filled(memory: KVMemory, num_blocks: int = 8) -> KVMemory:
    for index in range(num_blocks):
        memory.append(inputs_of(index), segment(index, TOKENS)[1])
        memory.check()
    return memory


def with_embeddings(num_blocks: int) -> KVMemory:
    """All on the device, what they were prefilled from beside them."""
    storage = Storage(lower=lower(1, host="embeddings"))
    return filled(make_memory(tiny_vlm("qwen3-vl"), storage, budget_blocks=10), num_blocks)


def check(kv: RawKV, is_spread: bool) -> None:
    if is_spread:
        assert kv.spread is not None and torch.equal(kv.spread, spread_of(kv.positions))
    else:
        assert kv.spread is None


@pytest.mark.parametrize("form", OF_TOKENS)
@pytest.mark.parametrize("tier", [Tier.HOST, Tier.DISK])
def test_what_comes_from_any_tier_in_any_form_has_its_own(
    form: Form, tier: Tier, tmp_path: Path
) -> None:
    rung = Rung(tier=tier, budget_bytes=PLENTY, form=form)
    memory = filled(make_memory(tiny_vlm("qwen3-vl"), Storage(lower=(rung,), folder=tmp_path)))
    memory.evict(0)
    assert {(block.tier, block.form) for block in memory.blocks} == {(tier, form)}
    for block in everything(memory):
        check(block.kv, block.block_id % 2 == 1)


def test_a_copy_on_another_device_has_it(vlm: QwenVL) -> None:
    block = filled(make_memory(vlm, Storage(), budget_blocks=10), 2).blocks[-1]
    assert isinstance(block.kv, RawKV)
    check(brought_to(block.kv, torch.device("meta")), True)


@pytest.mark.gpu
@pytest.mark.parametrize("form", ["exact", "int8", "int4"])
@pytest.mark.parametrize("pinned", [True, False])
def test_what_goes_from_the_gpu_and_back_has_it(form: Form, pinned: bool) -> None:
    block = with_embeddings(2).blocks[-1]
    assert isinstance(block.kv, RawKV)
    held = held_in_host(shrunk(brought_to(block.kv, torch.device("cuda")), form), pinned)
    assert isinstance(held, RawKV | QuantisedKV)
    check(brought_to(held, torch.device("cuda")), True)


@pytest.mark.parametrize("form", OF_TOKENS)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_what_is_thinned_keeps_that_of_its_tokens(form: Form, share: float) -> None:
    memory = filled(
        make_memory(tiny_vlm("qwen3-vl"), Storage(lower=lower(1, host="embeddings"))), 2
    )
    (block,) = memory.blocks[-1:]
    assert block.inputs is not None
    thin = thinned(in_form(block, form, wanted={"embeddings"}), share)
    assert len(thin.kv) == round(share * TOKENS)
    kept = [thin.kv, *([thin.inputs] if thin.inputs else [])]
    for each in kept:
        assert each.spread is not None
        assert torch.equal(each.spread, spread_of(each.positions))


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_recalled_within_a_budget_keeps_that_of_its_tokens(choice: str) -> None:
    plain = [made(number, [(2, [0.1, 0.9, 0.4]), (1, [0.3, 0.2])]) for number in range(4)]
    blocks = [
        replace(block, kv=replace(block.kv, spread=spread_of(block.kv.positions)))
        if block.block_id % 2
        else block
        for block in plain
    ]
    for max_tokens in (6, 12, 20):
        found = fit_to_budget(
            Recall(blocks=tuple(blocks), scores=(0.0,) * 4),
            PROBE,
            index_keys,
            RecallSettings(choice=choice, max_tokens=max_tokens),
        )
        for block in found.blocks:
            check(block.kv, block.block_id % 2 == 1)


@pytest.mark.parametrize("form", OF_TOKENS)
def test_a_file_says_nothing_of_it_where_there_is_none(form: Form) -> None:
    memory = filled(
        make_memory(tiny_vlm("qwen3-vl"), Storage(lower=lower(1, host="embeddings"))), 2
    )
    memory.append(inputs_of(2), segment(2, TOKENS)[1])
    for block in memory.blocks[-2:]:
        held = in_form(block, form, wanted=())
        file = safetensors.load(block_file.to_bytes(held.contents(held.kv)))
        assert ("spread" in file) is (block.block_id % 2 == 1)


@pytest.mark.parametrize("form", OF_TOKENS)
def test_its_bytes_are_counted(form: Form) -> None:
    block = in_form(with_embeddings(2).blocks[-1], form, wanted=())
    bare = replace(block.kv, spread=None)
    assert block.kv.num_bytes == bare.num_bytes + TOKENS * MEMBERS * 3 * 8


def test_a_segment_that_fits_without_it_only_is_refused(vlm: QwenVL) -> None:
    memory = make_memory(vlm, Storage(), budget_blocks=1)
    with pytest.raises(CapacityError, match=f"a block of {TOKENS} tokens"):
        memory.append(inputs_of(1), segment(1, TOKENS)[1])
    memory.append(inputs_of(0), segment(0, TOKENS)[1])
    assert len(memory.blocks) == 1


def watched(vlm: QwenVL, folder: Path, num_clips: int = 7) -> StreamPipeline:
    """Merged clips: two blocks on the device, two on the host, the rest in files."""
    alone = make_pipeline(vlm, {"name": "ppe"})
    feed(alone, [make_clip(0, size=clip_size(vlm))])
    each = alone.memory.num_bytes
    storage = Storage(lower=lower(each, PLENTY, "int8", "int4"), folder=folder)
    pipeline = make_pipeline(
        vlm, {"name": "ppe"}, storage=storage, budget_bytes=2 * each + each // 2
    )
    feed(pipeline, [make_clip(i, size=clip_size(vlm)) for i in range(num_clips)])
    return pipeline


def test_a_restored_stream_of_merged_clips_answers_as_before(vlm: QwenVL, tmp_path: Path) -> None:
    before = watched(vlm, tmp_path)
    SnapshotFolder(tmp_path, about(vlm)).save(snapshot_of(before))
    after = watched(vlm, tmp_path, num_clips=0)
    found = SnapshotFolder(tmp_path, about(vlm)).load(PLENTY, CPU, PLENTY)
    assert found is not None
    after.restore(found)
    assert {block.tier for block in after.memory.blocks} == set(Tier)
    for one, two in zip(everything(before.memory), everything(after.memory), strict=True):
        assert one.kv.spread is not None and two.kv.spread is not None and one.kv.spread.any()
        assert torch.equal(one.kv.spread, two.kv.spread)
    logits, _ = streamed_logits(ask(before, "What happens?"), 3)
    again, _ = streamed_logits(ask(after, "What happens?"), 3)
    assert all(torch.equal(one, two) for one, two in zip(logits, again, strict=True))
