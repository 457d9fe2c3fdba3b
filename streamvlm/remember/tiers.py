"""The blocks of one stream from tier to tier: device, host, disk, gone.

A block goes down when what comes needs its place, and never up: recall brings a copy to the device
for its one reader. On its way down it may be thinned and shrunk, so that it is forgotten later.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from streamvlm.errors import SnapshotError
from streamvlm.remember import block_file
from streamvlm.remember.again import Prefilling, in_form
from streamvlm.remember.eviction import EVICT
from streamvlm.remember.pictures import Pictures, Sight
from streamvlm.remember.quantise import FORMS, Form, HeldKV
from streamvlm.remember.shared import SharedBudget
from streamvlm.remember.shelves import DeviceShelf, DiskShelf, HostShelf, Shelf, in_memory
from streamvlm.remember.stored import FileKV, StoredBlock, brought_to
from streamvlm.remember.thin import thinned
from streamvlm.types import InputTokens, KVBlock, Tier, TierStatus

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One tier on the way down."""

    tier: Tier
    budget_bytes: int
    form: Form = "exact"
    """What a block is shrunk to where it comes here and is finer."""
    keep: float = 1.0
    """The share of its visual tokens that a block keeps where it comes here, see `thin`."""


def forms_of(rungs: Sequence[Rung]) -> frozenset[Form]:
    """What blocks above these may become: what that is made from must be kept beside them."""
    return frozenset(rung.form for rung in rungs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Storage:
    """Where the blocks of a stream go that the device has no room for."""

    lower: tuple[Rung, ...] = ()
    """Below the device, downwards; none: what leaves the device is forgotten."""
    evict: str = "oldest"
    """Which block goes down next, see `eviction`."""
    shared: SharedBudget = field(default_factory=SharedBudget)
    folder: Path | None = None
    """Of the stream; needed by the disk."""
    sight: Sight | None = None
    """Needed by pictures."""


class Tiers:
    """Every block lies in one tier, and no tier holds more than its budget. Methods that can make
    blocks go down give the ids of those that went all the way: forgotten.
    """

    def __init__(self, storage: Storage, prefilling: Prefilling, *, budget_bytes: int) -> None:
        device = prefilling.vlm.device
        self._ladder = (Rung(tier=Tier.DEVICE, budget_bytes=budget_bytes), *storage.lower)
        self._shelves = {
            rung.tier: _shelf(rung.tier, device, storage.folder) for rung in self._ladder
        }
        self._key, self._shared = EVICT[storage.evict], storage.shared
        self._prefilling, self._device = prefilling, device
        self.blocks: dict[int, StoredBlock] = {}
        """All of them, oldest first."""
        self.num_lost = 0
        """Blocks forgotten because of the disk."""
        self._sizes: dict[Tier, dict[int, int]] = {rung.tier: {} for rung in self._ladder}
        self._num_bytes: Counter[Tier] = Counter()
        self._forms: Counter[tuple[Tier, Form]] = Counter()
        self._form_bytes: Counter[tuple[Tier, Form]] = Counter()
        self._form_tokens: Counter[tuple[Tier, Form]] = Counter()
        self._num_recalls: Counter[int] = Counter()
        self._damaged: set[int] = set()
        self._is_failing = self._is_lacking = False

    def bytes_in(self, tier: Tier) -> int:
        """What the blocks there take."""
        return self._num_bytes[tier]

    def status(self) -> tuple[TierStatus, ...]:
        """What lies where, and in which form."""
        return tuple(
            TierStatus(
                tier=tier,
                form=form,
                blocks=count,
                num_tokens=self._form_tokens[tier, form],
                num_bytes=self._form_bytes[tier, form],
            )
            for tier in Tier
            for form in FORMS
            if (count := self._forms[tier, form])
        )

    def enter(self, block: StoredBlock, *, taking: bool = True) -> list[int]:
        """Take in a block in its tier, or below where that does not exist any more. Only where
        `taking` do other streams give way.
        """
        tiers = list(Tier)
        levels = [tiers.index(rung.tier) for rung in self._ladder]
        wanted = tiers.index(block.tier)
        level = next((i for i, each in enumerate(levels) if each >= wanted), len(levels))
        self.blocks[block.block_id] = block
        try:
            return self._place(block, level, taking)
        except BaseException:
            self.forget(block.block_id)
            raise

    def lower(self, tier: Tier, *, taking: bool = True) -> list[int]:
        """Let the next block go down from this tier; the newest of all only where it is alone."""
        newest = next(reversed(self.blocks))
        ids = [each for each in self._sizes[tier] if each != newest] or [newest]
        chosen = min(ids, key=lambda each: self._key(self.blocks[each], self._num_recalls[each]))
        return self._place(self.blocks[chosen], self._level(tier) + 1, taking)

    def keep_within(self, tier: Tier, budget_bytes: int, *, taking: bool = True) -> list[int]:
        """Let blocks go down until those of this tier take at most so much."""
        gone: list[int] = []
        while self._num_bytes[tier] > budget_bytes:
            gone += self.lower(tier, taking=taking)
        return gone

    def forget(self, block_id: int) -> None:
        """This block goes, wherever it is. KeyError."""
        self._unbook(self.blocks.pop(block_id))
        self._num_recalls.pop(block_id, None)
        self._damaged.discard(block_id)

    def strays(self) -> list[Path]:
        """Files of blocks that were forgotten and that somebody still holds."""
        shelf = self._shelves.get(Tier.DISK)
        return shelf.strays(self.blocks.values()) if isinstance(shelf, DiskShelf) else []

    def forget_damaged(self) -> list[int]:
        """What could not be read goes: recall itself changes nothing."""
        gone = sorted(self._damaged)
        for block_id in gone:
            self.forget(block_id)
        self.num_lost += len(gone)
        return gone

    def note_recall(self, block_ids: Iterable[int]) -> None:
        """A question was answered from these."""
        self._num_recalls.update(block_ids)

    def open(self, blocks: Sequence[StoredBlock]) -> list[KVBlock]:
        """Keys and values on the device, for one reader; what cannot be read is left out. All files
        are read at the same time, while what is in memory is brought. What lies as embeddings costs
        a forward a block, what lies as pictures one of the vision tower too.
        """
        reads = {
            block.block_id: self._shared.readers.submit(
                block_file.read, block.kv.path, block.kv.num_bytes, block.kv.sha256
            )
            for block in blocks
            if isinstance(block.kv, FileKV)
        }
        brought = {
            block.block_id: self._brought(block, in_memory(block))
            for block in blocks
            if block.block_id not in reads
        }
        for block in blocks:
            if (read := reads.get(block.block_id)) is None:
                continue
            try:
                brought[block.block_id] = self._brought(block, read.result().kv)
            except (OSError, SnapshotError) as error:
                log.error("block %d is forgotten: %s", block.block_id, error)
                self._damaged.add(block.block_id)
        return [brought[block.block_id] for block in blocks if block.block_id in brought]

    def check(self) -> None:
        """Assert that the books balance."""
        booked = {key: tier for tier, sizes in self._sizes.items() for key in sizes}
        lying = {key: block.tier for key, block in self.blocks.items()}
        assert booked == lying, "blocks are not where the books have them"
        assert list(self.blocks) == sorted(self.blocks), "blocks out of order"
        for rung in self._ladder:
            sizes, have = self._sizes[rung.tier], self._num_bytes[rung.tier]
            counted = sum(sizes.values())
            assert counted == have, f"{counted} bytes in blocks, {have} booked on {rung.tier}"
            assert have <= rung.budget_bytes, f"over budget on {rung.tier}"
            assert self._shared.is_free(rung.tier, 0), f"all streams over budget on {rung.tier}"
            for block_id, num_bytes in sizes.items():
                assert num_bytes >= self.blocks[block_id].num_bytes, "larger than booked"
        forms = Counter((block.tier, block.form) for block in self.blocks.values())
        assert forms == +self._forms, "forms are not what the books have"
        tokens = sum(len(block.kv) for block in self.blocks.values())
        assert tokens == self._form_tokens.total(), "tokens are not what the books have"

    def _brought(self, block: StoredBlock, kv: HeldKV) -> KVBlock:
        if isinstance(kv, Pictures):
            return self._prefilling.seen(block, kv)
        if isinstance(kv, InputTokens):
            return block.read_as(self._prefilling(kv))
        return block.read_as(brought_to(kv, self._device))

    def _level(self, tier: Tier) -> int:
        return next(i for i, rung in enumerate(self._ladder) if rung.tier is tier)

    def _place(self, block: StoredBlock, level: int, taking: bool) -> list[int]:
        """Put a block on this rung, or on the first below that can have it."""
        if level == len(self._ladder):
            self.forget(block.block_id)
            return [block.block_id]
        rung, gone = self._ladder[level], list[int]()
        try:
            coming = block if block.tier is rung.tier else thinned(block, rung.keep)
            coming = in_form(coming, rung.form, wanted=forms_of(self._ladder[level + 1 :]))
            self._note_lack(coming, rung)
            num_bytes, take = self._shelves[rung.tier].offer(coming)
            if num_bytes <= rung.budget_bytes:
                rest = rung.budget_bytes - num_bytes
                gone += self.keep_within(rung.tier, rest, taking=taking)
                if self._has_room(rung.tier, num_bytes, taking):
                    moved = replace(take(), tier=rung.tier)
                    self._is_failing &= rung.tier is not Tier.DISK
                    self._unbook(block)
                    self._book(moved, num_bytes)
                    return gone
        except OSError as error:
            if not self._is_failing:  # a full disk stays full for a while
                log.warning("blocks are forgotten, the disk takes none: %s", error)
            self._is_failing = True
            self.num_lost += 1
        return gone + self._place(block, level + 1, taking)

    def _note_lack(self, block: StoredBlock, rung: Rung) -> None:
        """One out of a snapshot of before, or whose clips came without pictures; told once."""
        is_finer = FORMS.index(block.form) < FORMS.index(rung.form)
        if is_finer and not self._is_lacking and not isinstance(block.kv, FileKV):
            log.warning(
                "block %d lacks what %s are made from: it and others like it are %s on the %s",
                *(block.block_id, rung.form, block.form, rung.tier),
            )
            self._is_lacking = True

    def _has_room(self, tier: Tier, num_bytes: int, taking: bool) -> bool:
        if taking:
            return self._shared.make_room(tier, num_bytes)
        return self._shared.is_free(tier, num_bytes)

    def _book(self, block: StoredBlock, num_bytes: int) -> None:
        self.blocks[block.block_id] = block
        self._sizes[block.tier][block.block_id] = num_bytes
        self._num_bytes[block.tier] += num_bytes
        self._forms[block.tier, block.form] += 1
        self._form_bytes[block.tier, block.form] += num_bytes
        self._form_tokens[block.tier, block.form] += len(block.kv)

    def _unbook(self, block: StoredBlock) -> None:
        """Nothing where the block is only coming."""
        sizes = self._sizes.get(block.tier, {})
        if (num_bytes := sizes.pop(block.block_id, None)) is not None:
            self._num_bytes[block.tier] -= num_bytes
            self._forms[block.tier, block.form] -= 1
            self._form_bytes[block.tier, block.form] -= num_bytes
            self._form_tokens[block.tier, block.form] -= len(block.kv)


def _shelf(tier: Tier, device: torch.device, folder: Path | None) -> Shelf:
    if tier is Tier.DEVICE:
        return DeviceShelf(device)
    if tier is Tier.HOST:
        return HostShelf(device)
    assert folder is not None, "the disk needs a folder"
    return DiskShelf(folder)
