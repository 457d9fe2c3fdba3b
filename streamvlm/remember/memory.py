"""The KV memory of one stream. Written by the stream only; recall reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from torch import Tensor

from streamvlm.errors import CapacityError
from streamvlm.remember.again import Prefilling
from streamvlm.remember.gate import BACKGROUND_BLOCKS, standing
from streamvlm.remember.index import BlockIndex
from streamvlm.remember.pictures import Pictures, pictures_of
from streamvlm.remember.recall import NOTHING, fit_to_budget
from streamvlm.remember.room import device_may_be_full
from streamvlm.remember.settings import DEFAULTS, RecallSettings
from streamvlm.remember.stored import StoredBlock
from streamvlm.remember.summary import summarise
from streamvlm.remember.tiers import Storage, Tiers, forms_of
from streamvlm.remember.within import Stretch, check, overlaps
from streamvlm.types import (
    InputTokens,
    Interval,
    KeptTokens,
    RawKV,
    Recall,
    StreamTime,
    Tier,
    TierStatus,
)
from streamvlm.vlm import VLM
from streamvlm.vlm.positions import PositionPolicy

COMPARABLE_RULE = "representatives"
"""A score of this rule is of a block and a probe alone; votes are of all blocks of a memory."""
IDS_BETWEEN_SNAPSHOTS = 1_000_000
"""More blocks than a stream makes between two snapshots: at one a second, those of eleven days."""


class KVMemory:
    """Closed segments of one stream as immutable blocks of raw keys and values, oldest first.

    Bounded by construction: the blocks on the device never exceed `budget_bytes`, nor those of any
    other tier its own budget, since others go down before one comes. A new block is prefilled
    attending to the sinks and the `local_blocks` newest blocks. Blocks are never changed; `blocks`
    hands out the tuple of now, and whoever holds it keeps what it reads.
    """

    def __init__(
        self,
        vlm: VLM,
        sinks: RawKV,
        *,
        budget_bytes: int,
        local_blocks: int,
        policy: PositionPolicy = "keep",
        max_span: int = 24_000,
        recall: RecallSettings = DEFAULTS,
        storage: Storage | None = None,
    ) -> None:
        self.sinks = sinks
        self.budget_bytes = budget_bytes
        self.num_evicted = self._next_id = 0
        self._vlm, self._local_blocks = vlm, local_blocks
        self._recall, storage = recall, storage or Storage()
        self._prefilling = Prefilling(
            vlm=vlm, sinks=sinks, policy=policy, max_span=max_span, sight=storage.sight
        )
        self._tiers = Tiers(storage, self._prefilling, budget_bytes=budget_bytes)
        self._wanted = forms_of(storage.lower)
        self._sight = storage.sight if "pictures" in self._wanted else None
        self._index = BlockIndex(recall.score, recall.exact_vectors)
        self._shared = storage.shared
        self._shared.join(self)

    @property
    def blocks(self) -> tuple[StoredBlock, ...]:
        """All blocks, oldest first: an immutable epoch."""
        return tuple(self._tiers.blocks.values())

    @property
    def num_bytes(self) -> int:
        """What the blocks on the device take; the sinks are of all streams and not counted."""
        return self.bytes_in(Tier.DEVICE)

    @property
    def num_lost(self) -> int:
        """Blocks evicted because the disk could not be written to, or gave back something else."""
        return self._tiers.num_lost

    @property
    def next_block_id(self) -> int:
        """Of the next block; more than that of any block so far."""
        return self._next_id

    def bytes_in(self, tier: Tier) -> int:
        """What the blocks of one tier take."""
        return self._tiers.bytes_in(tier)

    def tiers(self) -> tuple[TierStatus, ...]:
        """What lies where, and in which form."""
        return self._tiers.status()

    def restore(self, blocks: Sequence[StoredBlock], next_block_id: int, num_evicted: int) -> None:
        """Take over blocks of before, oldest first, each in the tier where it was; into a memory
        that has none yet. What does not fit goes down, as always; other streams give way to none.

        New blocks get ids that no block can have had, not even one that was made after the snapshot
        and is lost: answers may have named it.
        """
        assert not self._tiers.blocks, "only a new memory can be restored"
        self.num_evicted = num_evicted
        for block in blocks:
            self._keep(block, taking=False)
        self.check()
        self._next_id = next_block_id + IDS_BETWEEN_SNAPSHOTS

    def bytes_needed(self, inputs: InputTokens, pictures: Pictures | None = None) -> int:
        """What a block of these takes on the device: more than the budget, and it is refused."""
        needed = len(inputs) * self._vlm.kv_bytes_per_token
        needed += inputs.num_bytes if "embeddings" in self._wanted else 0
        needed += 0 if inputs.spread is None else inputs.spread.nbytes
        return needed + (0 if pictures is None else pictures.num_bytes)

    def append(
        self,
        inputs: InputTokens,
        interval: Interval,
        clip_lengths: Sequence[int] = (),
        clips: Sequence[KeptTokens] = (),
    ) -> StoredBlock:
        """Prefill one closed segment and keep it. Where the budget needs it others go down first.
        `clip_lengths` are the tokens of each of its clips; one clip where they are left out.
        `clips` are what they were laid out from, of which a tier below may want pictures.

        Costs one forward over the segment's tokens. Raises CapacityError, and changes nothing,
        where the segment alone is larger than the budget or the device has no room to prefill it.
        """
        pictures = pictures_of(clips, inputs, clip_lengths, self._sight)
        if (needed := self.bytes_needed(inputs, pictures)) > self.budget_bytes:
            raise CapacityError(
                f"a block of {len(inputs)} tokens takes {needed} bytes, "
                f"the memory's budget is {self.budget_bytes}"
            )
        with device_may_be_full(f"for a block of {len(inputs)} tokens"):
            local = self.blocks[-self._local_blocks :] if self._local_blocks else ()
            kv = self._prefilling(inputs, [block.kv for block in self._tiers.open(local)])
            block = StoredBlock(
                block_id=self._next_id,
                kv=kv,
                summary=summarise(self._vlm.index_keys(kv), inputs.is_visual),
                interval=interval,
                is_visual=inputs.is_visual,
                clip_lengths=tuple(clip_lengths) or (len(inputs),),
                inputs=inputs if "embeddings" in self._wanted else None,
                pictures=pictures,
            )
            self._keep(block)
        return block

    def extend(self, end: StreamTime) -> None:
        """The newest block stands for what was seen until `end`: nothing new, but time went on.
        Needs a block.
        """
        with self._shared.lock:
            block_id, block = next(reversed(self._tiers.blocks.items()))
            self._tiers.blocks[block_id] = replace(block, interval=block.interval.until(end))

    def recall(
        self,
        probe: Tensor,
        num_blocks: int,
        within: Sequence[Stretch] | None = None,
        *,
        always: Sequence[int] = (),
    ) -> Recall:
        """`find`, then `fit`."""
        return self.fit(self.find(probe, num_blocks, within, always=always), probe)

    def find(
        self,
        probe: Tensor,
        num_blocks: int,
        within: Sequence[Stretch] | None = None,
        *,
        max_tokens: int | None = None,
        always: Sequence[int] = (),
    ) -> Recall:
        """The `num_blocks` blocks with the highest scores for `probe` float32 [R], oldest first: of
        all, or of those that have a moment in one of the stretches `within` of stream seconds. With
        `max_tokens` the best ones that have no more together, but never fewer than `num_blocks`.
        Besides them the blocks with the ids `always`.

        Nothing where the best block does not stand out as the settings want it to, unless stretches
        are given: who names a time means history. Changes nothing: what lies below the device is
        brought there for this reader, and what cannot be read is left out and forgotten when memory
        is next written to. Raises ValueError for a stretch that ends before it starts,
        CapacityError where the device has no room for what is found.
        """
        among = None if within is None else self._within(within)
        most = num_blocks if max_tokens is None else len(self._tiers.blocks)
        hits = self._index.search(probe, most + len(always), among)
        if not hits or (within is None and not self._stands_out(probe, hits[0][0])):
            return NOTHING
        hits = [hit for hit in hits if hit[0] not in always][:most]
        if max_tokens is not None:
            lengths = (len(self._tiers.blocks[block_id].kv) for block_id, _ in hits)
            fitting = sum(total <= max_tokens for total in accumulate(lengths))
            hits = hits[: max(num_blocks, fitting)]
        scores = dict(hits + self._index.search(probe, len(always), always))
        chosen = [block for block_id, block in self._tiers.blocks.items() if block_id in scores]
        with device_may_be_full(f"for {len(chosen)} recalled blocks"):
            blocks = self._tiers.open(chosen)
        return Recall(
            blocks=tuple(blocks), scores=tuple(scores[block.block_id] for block in blocks)
        )

    def rank(
        self, probe: Tensor, num_blocks: int, within: Sequence[Stretch] | None = None
    ) -> list[tuple[StoredBlock, float]]:
        """The best blocks, best first, with scores that mean the same in every memory: those of
        `COMPARABLE_RULE`. Nothing is read, nobody is counted as recalled.
        """
        among = None if within is None else self._within(within)
        hits = self._index.search(probe, num_blocks, among, rule=COMPARABLE_RULE)
        return [(self._tiers.blocks[block_id], score) for block_id, score in hits]

    def fit(self, found: Recall, probe: Tensor) -> Recall:
        """What an answer gets of the blocks that were found: only tokens that the settings choose
        where they have a budget.
        """
        self._tiers.note_recall(block.block_id for block in found.blocks)
        return fit_to_budget(found, probe, self._vlm.index_keys, self._recall)

    def evict(self, budget_bytes: int) -> int:
        """Let blocks go down until at most `budget_bytes` are used on the device. Gives the number
        that went all the way down and is forgotten.
        """
        with self._shared.lock:
            gone = self._tiers.forget_damaged()
            gone += self._tiers.keep_within(Tier.DEVICE, budget_bytes)
            self._forgotten(gone)
        return len(gone)

    def give(self, tier: Tier) -> None:
        """Let one block go down from this tier, because another stream needs the place."""
        self._forgotten(self._tiers.lower(tier))

    def erase(self, block_ids: Iterable[int]) -> None:
        """Forget these blocks, wherever they stand. They do not count as evicted."""
        for block_id in list(block_ids):
            self._forget(block_id)

    def strays(self) -> list[Path]:
        """Files of blocks that were forgotten, for whoever does not wait for their last holder."""
        return self._tiers.strays()

    def check(self) -> None:
        """Assert that the books balance: bytes, budgets, index and order. For tests and idle
        moments.
        """
        with self._shared.lock:
            self._tiers.check()
            assert self._index.block_ids() == set(self._tiers.blocks), "index and blocks differ"

    def _within(self, within: Sequence[Stretch]) -> list[int]:
        check(within)
        blocks = self._tiers.blocks.items()
        return [block_id for block_id, block in blocks if overlaps(block.interval, within)]

    def _stands_out(self, probe: Tensor, block_id: int) -> bool:
        if not self._recall.gate:
            return True
        usual = self._index.sample(BACKGROUND_BLOCKS)
        ids, scores = self._index.scores(probe, sorted({*usual, block_id}))
        best = float(scores[ids == block_id])
        return standing(scores, best) >= self._recall.gate

    def _keep(self, block: StoredBlock, *, taking: bool = True) -> None:
        with self._shared.lock:
            self._forgotten(self._tiers.forget_damaged())
            gone = self._tiers.enter(block, taking=taking)
            self._index.add(block.block_id, block.summary)
            self._forgotten(gone)
        self._next_id = block.block_id + 1

    def _forget(self, block_id: int) -> None:
        with self._shared.lock:
            self._tiers.forget(block_id)
            self._index.remove(block_id)

    def _forgotten(self, block_ids: Sequence[int]) -> None:
        """These are in no tier any more."""
        for block_id in block_ids:
            self._index.remove(block_id)
        self.num_evicted += len(block_ids)
