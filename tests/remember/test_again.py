"""Blocks that lie as the embeddings that they were prefilled from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streamvlm.errors import CapacityError
from streamvlm.remember import KVMemory, Rung, SnapshotFolder, Storage
from streamvlm.remember.again import in_form
from streamvlm.remember.quantise import Form
from streamvlm.remember.stored import FileKV
from streamvlm.remember.thin import thinned
from streamvlm.types import InputTokens, RawKV, Tier
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import tiny_vlm
from tests.remember.test_any_order import ABOUT, snapshot_of
from tests.remember.test_memory import segment
from tests.remember.test_tiers import PLENTY, TOKENS, everything, lower, make_memory, where

CPU = torch.device("cpu")
TEXT = [0, 1, 2, 12, 13]
LEVELS = 2
"""Of deepstack, in the tiny Qwen3-VL."""


def some_inputs(vlm: QwenVL, index: int, num_tokens: int = TOKENS) -> InputTokens:
    """Two clips, each behind text; deepstack for the model that has one."""
    inputs, _ = segment(index, num_tokens)
    is_visual = inputs.is_visual.clone()
    is_visual[[each for each in TEXT if each < num_tokens]] = False
    generator = torch.Generator().manual_seed(1000 + index)
    shape = (LEVELS, int(is_visual.sum()), inputs.embeddings.shape[1])
    deepstack = torch.randn(shape, generator=generator) if vlm._family.has_deepstack else None
    return replace(inputs, is_visual=is_visual, deepstack=deepstack)


def filled(memory: KVMemory, num_blocks: int) -> KVMemory:
    for index in range(num_blocks):
        inputs = some_inputs(memory._vlm, index)  # type: ignore[arg-type]
        memory.append(inputs, segment(index, TOKENS)[1], [12, TOKENS - 12])
        memory.check()
    return memory


def made(vlm: QwenVL, *rungs: Rung, folder: Path | None = None, num_blocks: int = 6) -> KVMemory:
    """Room for two blocks with their embeddings on the device."""
    return filled(empty(vlm, rungs, folder), num_blocks)


def empty(vlm: QwenVL, rungs: tuple[Rung, ...], folder: Path | None = None) -> KVMemory:
    each = 1 + vlm.input_bytes_per_token / vlm.kv_bytes_per_token
    return make_memory(vlm, Storage(lower=rungs, folder=folder), budget_blocks=2.2 * each)


def over_the_sinks(memory: KVMemory, inputs: InputTokens) -> RawKV:
    """The oracle."""
    vlm = memory._vlm
    return vlm.prefill(inputs, vlm.open_context([memory.sinks])).kv


def equal(one: RawKV, two: RawKV) -> bool:
    names = ("keys", "values", "positions")
    return all(torch.equal(getattr(one, name), getattr(two, name)) for name in names)


@pytest.mark.parametrize("host", ["exact", "int8", "embeddings"])
def test_what_comes_back_is_a_prefill_over_the_sinks(
    vlm: QwenVL, host: Form, tmp_path: Path
) -> None:
    whole = filled(make_memory(vlm, Storage(), budget_blocks=100), 6)
    block = replace(whole.blocks[0], inputs=some_inputs(vlm, 0))
    room = 2 * in_form(block, host, wanted={"embeddings"}).num_bytes
    memory = made(vlm, *lower(room, PLENTY, host, "embeddings"), folder=tmp_path)
    assert where(memory) == [Tier.DISK, Tier.DISK, Tier.HOST, Tier.HOST, Tier.DEVICE, Tier.DEVICE]
    forms = [block.form for block in memory.blocks]
    assert forms == ["embeddings", "embeddings", host, host, "exact", "exact"]
    first = zip(everything(memory)[:2], everything(whole), memory.blocks, strict=False)
    for index, (again, once, held) in enumerate(first):
        assert equal(again.kv, over_the_sinks(memory, some_inputs(vlm, index)))
        assert torch.equal(held.summary.keys, once.summary.keys), "found as ever"
        assert isinstance(held.kv, FileKV) and held.inputs is None


def test_only_the_first_layer_comes_back_as_it_was(vlm: QwenVL) -> None:
    """At first a block attended to those before it; the very first one had none."""
    whole = filled(make_memory(vlm, Storage(), budget_blocks=100), 3)
    memory = made(vlm, *lower(PLENTY, host="embeddings"), num_blocks=3)
    memory.evict(0)
    pairs = list(zip(everything(whole), everything(memory), strict=True))
    assert all(equal(one.kv, two.kv) for one, two in pairs[:1])
    for one, two in pairs[1:]:
        assert torch.allclose(one.kv.keys[0], two.kv.keys[0], atol=1e-5)
        assert not torch.allclose(one.kv.keys[-1], two.kv.keys[-1], atol=1e-3)


def test_embeddings_are_kept_where_a_tier_below_wants_them_and_only_there(vlm: QwenVL) -> None:
    kept, bare = (made(vlm, *lower(PLENTY, host=form)) for form in ("embeddings", "int4"))
    each = some_inputs(vlm, 0).num_bytes
    for block in kept.blocks:
        if block.tier is Tier.DEVICE:
            assert block.inputs is not None
            assert torch.equal(block.inputs.embeddings, some_inputs(vlm, block.block_id).embeddings)
        else:
            assert isinstance(block.kv, InputTokens) and block.inputs is None
    assert all(block.inputs is None for block in bare.blocks)
    on_host = sum(block.tier is Tier.HOST for block in kept.blocks)
    assert kept.bytes_in(Tier.HOST) == on_host * each
    assert kept.num_bytes == (6 - on_host) * (each + TOKENS * vlm.kv_bytes_per_token)
    (told,) = (one for one in kept.tiers() if one.tier is Tier.HOST)
    assert (told.form, told.blocks, told.num_tokens) == ("embeddings", on_host, on_host * TOKENS)


def test_a_visual_token_takes_as_many_bytes_as_the_model_says(vlm: QwenVL) -> None:
    inputs = some_inputs(vlm, 0)
    visual = inputs.is_visual
    only = replace(
        inputs,
        embeddings=inputs.embeddings[visual],
        positions=inputs.positions[visual],
        is_visual=visual[visual],
    )
    assert only.num_bytes == len(only) * vlm.input_bytes_per_token


def test_a_segment_that_fits_without_its_embeddings_only_is_refused() -> None:
    vlm = tiny_vlm("qwen3-vl")
    wanting, bare = (empty(vlm, lower(PLENTY, host=form)) for form in ("embeddings", "int4"))
    num_tokens = bare.budget_bytes // vlm.kv_bytes_per_token
    bare.append(*segment(0, num_tokens))
    with pytest.raises(CapacityError, match=f"a block of {num_tokens} tokens"):
        wanting.append(*segment(0, num_tokens))
    wanting.check()


@pytest.mark.parametrize("is_thinned_first", [True, False])
def test_one_mask_thins_embeddings_and_deepstack(vlm: QwenVL, is_thinned_first: bool) -> None:
    """On the way to that form by the keys, in it by the embeddings."""
    memory = made(vlm, *lower(PLENTY, host="embeddings"), num_blocks=1)
    (block,) = memory.blocks
    if is_thinned_first:
        thin = in_form(thinned(block, 0.5), "embeddings", wanted=())
    else:
        thin = thinned(in_form(block, "embeddings", wanted=()), 0.5)
    was, kept = some_inputs(vlm, 0), thin.kv
    assert isinstance(kept, InputTokens) and thin.num_visual == round(0.5 * block.num_visual)
    assert sum(thin.clip_lengths) == len(kept) == len(thin.is_visual)
    assert torch.equal(kept.is_visual, thin.is_visual)
    mask = torch.isin(was.positions[:, 0], kept.positions[:, 0])
    assert torch.equal(was.embeddings[mask], kept.embeddings)
    if was.deepstack is not None:
        assert kept.deepstack is not None
        assert torch.equal(was.deepstack[:, mask[was.is_visual]], kept.deepstack)


def test_a_share_of_one_is_the_block_itself(vlm: QwenVL) -> None:
    (block,) = made(vlm, *lower(PLENTY, host="embeddings"), num_blocks=1).blocks
    held = in_form(block, "embeddings", wanted=())
    assert thinned(block, 1.0) is block and thinned(held, 1.0) is held


@pytest.mark.parametrize("host", ["int8", "embeddings"])
def test_a_snapshot_has_them_and_a_restart_changes_nothing(
    vlm: QwenVL, host: Form, tmp_path: Path
) -> None:
    room = 3 * TOKENS * vlm.input_bytes_per_token
    rungs = lower(room, PLENTY, host, "embeddings")
    memory = made(vlm, *rungs, folder=tmp_path, num_blocks=8)
    assert set(where(memory)) == set(Tier)
    again = restarted(memory, rungs, tmp_path)
    for one, two in zip(memory.blocks, again.blocks, strict=True):
        assert (one.tier, one.form, one.num_bytes) == (two.tier, two.form, two.num_bytes)
        assert (one.inputs is None) == (two.inputs is None)
    pairs = zip(everything(memory), everything(again), strict=True)
    assert all(equal(one.kv, two.kv) for one, two in pairs)
    for each in (memory, again):
        each.evict(0)
    assert [block.form for block in again.blocks] == [block.form for block in memory.blocks]
    pairs = zip(everything(memory), everything(again), strict=True)
    assert all(equal(one.kv, two.kv) for one, two in pairs)


def test_what_has_no_embeddings_out_of_an_older_snapshot_becomes_int4(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    before = made(vlm, *lower(PLENTY), folder=tmp_path, num_blocks=4)
    after = restarted(before, lower(PLENTY, host="embeddings"), tmp_path)
    after.append(some_inputs(vlm, 9), segment(9, TOKENS)[1])
    after.evict(0)
    assert [block.form for block in after.blocks] == ["int4"] * 4 + ["embeddings"]
    after.check()


def restarted(memory: KVMemory, rungs: tuple[Rung, ...], folder: Path) -> KVMemory:
    SnapshotFolder(folder, ABOUT).save(snapshot_of(memory))
    found = SnapshotFolder(folder, ABOUT).load(PLENTY, CPU, PLENTY)
    assert found is not None
    again = empty(memory._vlm, rungs, folder)  # type: ignore[arg-type]
    again.restore(found.blocks, found.next_block_id, found.num_evicted)
    again.check()
    return again
