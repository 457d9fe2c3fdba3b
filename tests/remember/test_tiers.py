"""Tiers: every budget holds after whatever happens (I23), a move changes nothing but what its form
says (I15), and a disk that fails costs blocks, never the stream.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamvlm.encode import Encoder
from streamvlm.errors import CapacityError
from streamvlm.remember import KVMemory, RecallSettings, Rung, SharedBudget, Storage, files
from streamvlm.remember.quantise import FORMS, Form, form_of, restored, shrunk
from streamvlm.remember.stored import FileKV
from streamvlm.remember.thin import thinned
from streamvlm.seeing import JpegSight
from streamvlm.types import InputTokens, KeptTokens, KVBlock, Tier
from streamvlm.vlm.qwen import QwenVL
from tests.conftest import at, make_clip, tiny_vlm
from tests.remember.test_memory import segment

PLENTY = 2**30
TOKENS = 20
"""Of a block."""


def make_memory(vlm: QwenVL, storage: Storage, budget_blocks: float = 2.5) -> KVMemory:
    """A memory whose device holds so many blocks."""
    prefix, _ = vlm.lay_out_prefix()
    sinks = vlm.prefill(prefix, vlm.open_context([])).kv
    budget_bytes = int(budget_blocks * TOKENS * vlm.kv_bytes_per_token)
    return KVMemory(
        vlm,
        sinks,
        budget_bytes=budget_bytes,
        local_blocks=2,
        recall=RecallSettings(score="mean"),
        storage=storage,
    )


def filled(memory: KVMemory, num_blocks: int, first: int = 0) -> KVMemory:
    sinks = memory.sinks.keys
    for index in range(first, first + num_blocks):
        inputs, interval = segment(index, TOKENS)
        embeddings = inputs.embeddings.to(sinks.device, sinks.dtype)
        memory.append(replace(inputs, embeddings=embeddings), interval)
        memory.check()
    return memory


def lower(
    host_bytes: int = 0,
    disk_bytes: int = 0,
    host: Form = "exact",
    disk: Form = "exact",
    keep: float = 1.0,
) -> tuple[Rung, ...]:
    rungs = (
        Rung(tier=Tier.HOST, budget_bytes=host_bytes, form=host, keep=keep),
        Rung(tier=Tier.DISK, budget_bytes=disk_bytes, form=disk, keep=keep),
    )
    return tuple(rung for rung in rungs if rung.budget_bytes)


def where(memory: KVMemory) -> list[Tier]:
    """Of each block, oldest first."""
    return [block.tier for block in memory.blocks]


def everything(memory: KVMemory) -> tuple[KVBlock, ...]:
    """All blocks, as a question gets them."""
    return memory.recall(torch.zeros(64), 10_000).blocks


def same(one: KVBlock, two: KVBlock) -> bool:
    return all(
        torch.equal(getattr(one.kv, name), getattr(two.kv, name))
        for name in ("keys", "values", "positions")
    ) and torch.equal(one.summary.keys, two.summary.keys)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 60)),
        st.tuples(st.just("append to the other"), st.integers(1, 60)),
        st.tuples(st.just("evict"), st.integers(0, 100_000)),
        st.tuples(st.just("recall"), st.integers(0, 12)),
        st.tuples(st.just("move"), st.sampled_from(list(Tier))),
        st.tuples(st.just("damage"), st.integers(0, 5)),
        st.tuples(st.just("erase"), st.integers(0, 5)),
    ),
    max_size=30,
)
forms = st.sampled_from(FORMS)
policies = st.sampled_from(["oldest", "least_recalled", "lowest_weight"])
sizes = st.integers(0, 150_000)


@settings(max_examples=40, deadline=None)
@given(operations, sizes, sizes, forms, forms, policies, st.data())
def test_every_budget_holds_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory,
    todo: list[tuple[str, Any]],
    host_bytes: int,
    disk_bytes: int,
    host: Form,
    disk: Form,
    evict: str,
    data: st.DataObject,
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    budget = 100 * vlm.kv_bytes_per_token
    totals = data.draw(
        st.dictionaries(st.sampled_from(list(Tier)), st.integers(budget, 2 * budget))
    )
    shared = SharedBudget(totals)
    keep = data.draw(st.sampled_from([1.0, 0.5, 0.1]))
    rungs = lower(host_bytes, disk_bytes, host, disk, keep)

    def memory_in(folder: str) -> KVMemory:
        path = tmp_path_factory.mktemp(folder)
        encoder = Encoder(tower=vlm, max_batch_clips=1)
        sight = JpegSight(encoder=encoder, num_clips=1, quantiser=3)
        storage = Storage(lower=rungs, evict=evict, shared=shared, folder=path, sight=sight)
        return make_memory(vlm, storage, budget_blocks=100 / TOKENS)

    memory, other = memory_in("one"), memory_in("two")
    for index, (verb, value) in enumerate(todo):
        if verb == "append":
            inputs, interval = segment(index, value)
            memory.append(inputs, interval, [value], [clip_of(inputs, index)])
        elif verb == "append to the other":
            other.append(*segment(index, value))
        elif verb == "evict":
            memory.evict(value)
            assert memory.num_bytes <= value
        elif verb == "recall":
            before = memory.blocks
            recall = memory.recall(torch.randn(64), value)
            assert memory.blocks == before
            assert all(block.kv.keys.dtype is vlm.dtype for block in recall.blocks)
        elif verb == "move" and memory.bytes_in(value):
            memory.give(value)
        elif verb == "damage" and (kept := on_disk(memory)):
            kept[value % len(kept)].path.write_bytes(b"")
        elif verb == "erase" and memory.blocks:
            memory.erase([memory.blocks[value % len(memory.blocks)].block_id])
        for each in (memory, other):
            each.check()
            for rung in rungs:
                assert each.bytes_in(rung.tier) <= rung.budget_bytes
                told = sum(one.num_bytes for one in each.tiers() if one.tier is rung.tier)
                assert told == each.bytes_in(rung.tier)
        for tier, limit in totals.items():
            assert memory.bytes_in(tier) + other.bytes_in(tier) <= limit
    for each in (memory, other):
        sizes = [kept.path.stat().st_size for kept in on_disk(each)]
        assert sum(sizes) <= each.bytes_in(Tier.DISK), "files are what the books say"


def clip_of(inputs: InputTokens, index: int) -> KeptTokens:
    """One from which these may be, with a picture of four cells."""
    clip, count = make_clip(index, size=(64, 64)), len(inputs)
    return KeptTokens(
        features=inputs.embeddings,
        cells=torch.zeros(count, 3, dtype=torch.int64),
        indices=torch.arange(count),
        weight=torch.ones(count),
        grid_thw=(1, 1, count),
        interval=clip.interval,
        pts_seconds=clip.pts_seconds,
        picture=torch.from_numpy(clip.pixels[-1]),
    )


def on_disk(memory: KVMemory) -> list[FileKV]:
    return [block.kv for block in memory.blocks if isinstance(block.kv, FileKV)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_block_comes_back_from_every_tier_bit_for_bit(dtype: str, tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl", dtype)
    each = TOKENS * vlm.kv_bytes_per_token
    rungs = lower(2 * each, PLENTY)
    tiered = filled(make_memory(vlm, Storage(lower=rungs, folder=tmp_path)), 6)
    whole = filled(make_memory(vlm, Storage(), budget_blocks=100), 6)
    assert where(tiered) == [Tier.DISK, Tier.DISK, Tier.HOST, Tier.HOST, Tier.DEVICE, Tier.DEVICE]
    assert tiered.num_evicted == 0
    for one, two in zip(everything(tiered), everything(whole), strict=True):
        assert one.block_id == two.block_id and same(one, two)


@pytest.mark.parametrize(("host", "disk"), [("int8", "int4"), ("int4", "exact"), ("int8", "int8")])
def test_a_block_is_shrunk_on_its_way_down_and_is_found_all_the_same(
    host: Form, disk: Form, tmp_path: Path
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    whole = filled(make_memory(vlm, Storage(), budget_blocks=100), 6)
    originals = [block.kv for block in everything(whole)]
    each = shrunk(originals[0], host).num_bytes
    storage = Storage(lower=lower(2 * each, PLENTY, host, disk), folder=tmp_path)
    tiered = filled(make_memory(vlm, storage), 6)
    held = [block.form for block in tiered.blocks]
    low = disk if disk != "exact" else host
    assert held == [low, low, host, host, "exact", "exact"]
    # Locals are read as they are held by then, so blocks behind the first ones may differ a bit;
    # the first two were made from exact ones only.
    for block, kv in list(zip(everything(tiered), originals, strict=True))[:2]:
        smaller = shrunk(shrunk(kv, host), disk)
        assert form_of(smaller) == low and not isinstance(smaller, type(kv))
        expected = restored(smaller, vlm.device)  # type: ignore[arg-type]
        assert torch.equal(block.kv.keys, expected.keys)
        assert torch.equal(block.kv.values, expected.values)
    probe = torch.randn(64)
    assert tiered.recall(probe, 3).scores == pytest.approx(
        tuple(
            float(block.summary.mean.flatten() @ probe) for block in tiered.recall(probe, 3).blocks
        ),
        abs=1e-4,
    )


def test_below_the_last_tier_blocks_are_forgotten_oldest_first() -> None:
    vlm = tiny_vlm("qwen3-vl")
    each = TOKENS * vlm.kv_bytes_per_token
    memory = filled(make_memory(vlm, Storage(lower=lower(2 * each))), 7)
    assert [block.block_id for block in memory.blocks] == [3, 4, 5, 6]
    assert memory.num_evicted == 3 and memory.num_lost == 0


def test_what_questions_were_answered_from_stays() -> None:
    memory = make_memory(tiny_vlm("qwen3-vl"), Storage(evict="least_recalled"), budget_blocks=3)
    filled(memory, 3)
    probe = memory.blocks[0].summary.mean.flatten()
    (found,) = memory.recall(probe, 1).blocks
    filled(memory, 1, first=3)
    gone = min({0, 1, 2} - {found.block_id})
    assert [block.block_id for block in memory.blocks] == sorted({0, 1, 2, 3} - {gone})


def test_what_shows_most_stays() -> None:
    vlm = tiny_vlm("qwen3-vl")
    memory = make_memory(vlm, Storage(evict="lowest_weight"), budget_blocks=3)
    for index, num_tokens in enumerate((20, 5, 20, 10)):
        memory.append(*segment(index, num_tokens))
    memory.append(*segment(4, 20))
    assert [block.block_id for block in memory.blocks] == [0, 2, 4]


def test_the_stream_that_takes_most_gives_way() -> None:
    vlm = tiny_vlm("qwen3-vl")
    each = TOKENS * vlm.kv_bytes_per_token
    shared = SharedBudget({Tier.DEVICE: 6 * each})
    one, two = (make_memory(vlm, Storage(shared=shared), budget_blocks=6) for _ in range(2))
    filled(one, 6)
    filled(two, 5)
    assert (len(one.blocks), len(two.blocks)) == (2, 4)
    del one
    assert shared.bytes_in(Tier.DEVICE) == two.num_bytes, "what is gone does not count"
    filled(two, 3, first=5)
    assert len(two.blocks) == 6


def no_space(path: Path, data: bytes, **_: Any) -> Path:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_costs_blocks_not_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(lower=lower(disk_bytes=PLENTY), folder=tmp_path)
    memory = filled(make_memory(tiny_vlm("qwen3-vl"), storage), 4)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_finished", no_space)
        filled(memory, 2, first=4)
    assert [block.block_id for block in memory.blocks] == [0, 1, 4, 5]
    assert (memory.num_lost, memory.num_evicted) == (2, 2)
    filled(memory, 1, first=6)
    assert len(everything(memory)) == 5, "the disk is used again once it has room"


def test_a_folder_that_cannot_be_made_costs_blocks_not_the_stream(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    storage = Storage(lower=lower(disk_bytes=PLENTY), folder=tmp_path / "file")
    memory = filled(make_memory(tiny_vlm("qwen3-vl"), storage), 5)
    assert where(memory) == [Tier.DEVICE] * 2 and memory.num_lost == 3


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_file_is_a_block_forgotten_never_half_used(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    storage = Storage(lower=lower(disk_bytes=PLENTY), folder=tmp_path)
    memory = filled(make_memory(tiny_vlm("qwen3-vl"), storage), 5)
    damage(on_disk(memory)[1].path)
    before = memory.blocks
    assert [block.block_id for block in everything(memory)] == [0, 2, 3, 4]
    assert memory.blocks == before, "a question changes nothing"
    filled(memory, 1, first=5)
    assert [block.block_id for block in memory.blocks] == [0, 2, 3, 4, 5]
    assert (memory.num_lost, memory.num_evicted) == (1, 1)


def test_a_file_lasts_as_long_as_somebody_holds_its_block(tmp_path: Path) -> None:
    storage = Storage(lower=lower(disk_bytes=PLENTY), folder=tmp_path)
    memory = filled(make_memory(tiny_vlm("qwen3-vl"), storage), 4)
    epoch = memory.blocks
    path = on_disk(memory)[0].path
    memory.erase([0])
    assert path.exists() and memory.strays() == [path]
    del epoch
    assert not path.exists()
    assert len(list(tmp_path.glob("*/*"))) == 1
    del memory
    assert not list(tmp_path.iterdir())


def test_a_device_without_room_costs_the_segment_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vlm = tiny_vlm("qwen3-vl")
    each = TOKENS * vlm.kv_bytes_per_token
    memory = filled(make_memory(vlm, Storage(lower=lower(each))), 4)
    before = memory.blocks

    def full(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(QwenVL, "prefill", full)
        with pytest.raises(CapacityError, match="no memory for a block of 20 tokens"):
            memory.append(*segment(4, TOKENS))
    assert memory.blocks == before
    memory.check()
    with monkeypatch.context() as patch:
        patch.setattr("streamvlm.remember.tiers.brought_to", full)
        with pytest.raises(CapacityError, match="no memory for 3 recalled blocks"):
            memory.recall(torch.zeros(64), 3)
    filled(memory, 1, first=4)


def test_time_goes_on_for_the_newest_block_wherever_it_lies(tmp_path: Path) -> None:
    storage = Storage(lower=lower(disk_bytes=PLENTY), folder=tmp_path)
    memory = filled(make_memory(tiny_vlm("qwen3-vl"), storage), 2)
    memory.evict(0)
    memory.extend(at(9.0))
    memory.check()
    assert where(memory) == [Tier.DISK] * 2
    assert everything(memory)[1].interval == replace(memory.blocks[1].interval, end=at(9.0))


@pytest.mark.gpu
def test_a_block_comes_back_from_pinned_memory_bit_for_bit(tmp_path: Path) -> None:
    from streamvlm.vlm import load

    vlm = load("random:qwen3-vl-tiny", dtype="bfloat16", device="cuda")
    storage = Storage(lower=lower(PLENTY, PLENTY), folder=tmp_path)
    whole = filled(make_memory(vlm, Storage(), 100), 4)
    tiered = filled(make_memory(vlm, storage, 100), 4)
    tiered.evict(0)
    assert all(block.kv.keys.is_pinned() for block in tiered.blocks)  # type: ignore[union-attr]
    assert all(same(*pair) for pair in zip(everything(tiered), everything(whole), strict=True))
    for _ in range(4):
        tiered.give(Tier.HOST)
    assert where(tiered) == [Tier.DISK] * 4
    assert all(same(*pair) for pair in zip(everything(tiered), everything(whole), strict=True))
    tiered.check()


def test_an_old_block_is_thinned_to_what_differs_most() -> None:
    vlm = tiny_vlm("qwen3-vl")
    host = Rung(tier=Tier.HOST, budget_bytes=PLENTY, keep=0.5)
    whole = filled(make_memory(vlm, Storage(lower=lower(PLENTY))), 6)
    memory = filled(make_memory(vlm, Storage(lower=(host,))), 6)
    for was, block in zip(whole.blocks, memory.blocks, strict=True):
        if block.tier is Tier.DEVICE:
            assert len(block.kv) == TOKENS
            continue
        assert block.num_visual == round(0.5 * was.num_visual)
        assert sum(block.clip_lengths) == len(block.kv) == len(block.is_visual)
        kept = torch.isin(was.kv.positions[:, 0], block.kv.positions[:, 0])
        assert torch.equal(was.kv.keys[:, :, kept], block.kv.keys)
        assert torch.equal(was.kv.values[:, :, kept], block.kv.values)
        # What represents the block is still in it, and still where it says.
        there = vlm.index_keys(block.kv)[block.summary.tokens]
        assert torch.equal(there, block.summary.keys)
    told = {each.tier: each for each in memory.tiers()}
    before = {each.tier: each for each in whole.tiers()}
    assert told["host"].num_tokens < before["host"].num_tokens
    assert told["host"].num_bytes < before["host"].num_bytes
    assert told["device"] == before["device"]


@pytest.mark.parametrize("form", ["exact", "int8", "embeddings"])
def test_thinning_goes_by_how_unlike_a_key_is(form: Form) -> None:
    """The formula, plainly: one minus the mean cosine to all visual tokens of the block."""
    vlm = tiny_vlm("qwen3-vl")
    (block,) = filled(make_memory(vlm, Storage()), 1).blocks
    if form == "embeddings":
        kv = segment(0, TOKENS)[0]
        keys = kv.embeddings
    else:
        kv = shrunk(block.kv, form)
        held = restored(kv, torch.device("cpu")) if form == "int8" else kv
        keys = vlm.index_keys(held).flatten(1)
    visual = [int(row) for row in torch.nonzero(block.is_visual)]
    unlike = {
        row: 1
        - sum(float(torch.cosine_similarity(keys[row], keys[each], dim=0)) for each in visual)
        for row in visual
    }
    sure = block.summary.tokens.tolist()
    rest = sorted((row for row in visual if row not in sure), key=lambda row: -unlike[row])
    for share in (0.25, 0.5, 0.75):
        thin = thinned(replace(block, kv=kv), share)
        count = round(share * len(visual))
        expected = sorted([*sure, *rest][:count] if count > len(sure) else sure[:count])
        places = [int(each) for each in block.kv.positions[expected, 0]]
        assert [
            p for p in thin.kv.positions[thin.is_visual][:, 0].tolist() if p in places
        ] == places
        assert thin.num_visual == count
    assert thinned(block, 1.0) is block


def test_a_thinned_block_is_the_same_behind_a_restart(tmp_path: Path) -> None:
    vlm = tiny_vlm("qwen3-vl")
    host = Rung(tier=Tier.HOST, budget_bytes=PLENTY, keep=0.5)
    memory = filled(make_memory(vlm, Storage(lower=(host,))), 6)
    again = make_memory(vlm, Storage(lower=(host,)))
    again.restore(memory.blocks, memory.next_block_id, 0)
    again.check()
    pairs = zip(everything(memory), everything(again), strict=True)
    assert all(same(one, two) for one, two in pairs)
