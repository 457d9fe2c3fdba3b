"""The KV memory of one stream. Written by the stream only; recall reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from torch import Tensor

from streamvlm.errors import CapacityError
from streamvlm.remember.gate import BACKGROUND_BLOCKS, standing
from streamvlm.remember.index import BlockIndex
from streamvlm.remember.recall import NOTHING, fit_to_budget
from streamvlm.remember.settings import DEFAULTS, RecallSettings
from streamvlm.remember.summary import summarise
from streamvlm.remember.within import Stretch, check, overlaps
from streamvlm.types import InputTokens, Interval, KVBlock, RawKV, Recall, StreamTime
from streamvlm.vlm import VLM
from streamvlm.vlm.inputs import bring_together
from streamvlm.vlm.positions import PositionPolicy

IDS_BETWEEN_SNAPSHOTS = 1_000_000
"""More blocks than a stream makes between two snapshots: at one a second, those of eleven days."""


class KVMemory:
    """Closed segments of one stream as immutable blocks of raw keys and values, oldest first.

    Bounded by construction: the blocks' bytes never exceed `budget_bytes`, not even while a block
    is being added, since the oldest go before the new one comes. A new block is prefilled attending
    to the sinks and the `local_blocks` newest blocks. Blocks are never changed; `blocks` hands out
    the tuple of now, and whoever holds it keeps what it reads.
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
    ) -> None:
        self.sinks = sinks
        self.budget_bytes = budget_bytes
        self.num_evicted = 0
        self._vlm, self._local_blocks = vlm, local_blocks
        self._policy, self._max_span = policy, max_span
        self._recall = recall
        self._blocks: dict[int, KVBlock] = {}
        self._index = BlockIndex(recall.score, recall.exact_vectors)
        self._next_id = 0
        self._num_bytes = 0

    @property
    def blocks(self) -> tuple[KVBlock, ...]:
        """All blocks, oldest first: an immutable epoch."""
        return tuple(self._blocks.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of keys, values and ledgers in all blocks; the sinks are shared by all streams and
        not counted.
        """
        return self._num_bytes

    @property
    def next_block_id(self) -> int:
        """Of the next block; more than that of any block so far."""
        return self._next_id

    def restore(self, blocks: Sequence[KVBlock], next_block_id: int, num_evicted: int) -> None:
        """Take over blocks of before, oldest first, which fit into the budget; into a memory that
        has none yet.

        New blocks get ids that no block can have had, not even one that was made after the snapshot
        and is lost: answers may have named it.
        """
        assert not self._blocks, "only a new memory can be restored"
        self.num_evicted = num_evicted
        for block in blocks:
            self._keep(block)
        self.check()
        self._next_id = next_block_id + IDS_BETWEEN_SNAPSHOTS

    def can_append(self, num_tokens: int) -> bool:
        """Whether a block of this many tokens fits into the budget once everything else is
        evicted.
        """
        return num_tokens * self._vlm.kv_bytes_per_token <= self.budget_bytes

    def append(
        self, inputs: InputTokens, interval: Interval, clip_lengths: Sequence[int] = ()
    ) -> KVBlock:
        """Prefill one closed segment and keep it. Where the budget needs it the oldest blocks are
        evicted first, before the new keys and values exist. `clip_lengths` are the tokens of each
        of its clips; one clip where they are left out.

        Costs one forward over the segment's tokens. Raises CapacityError, and changes nothing,
        where the segment alone is larger than the budget.
        """
        needed = len(inputs) * self._vlm.kv_bytes_per_token
        if not self.can_append(len(inputs)):
            raise CapacityError(
                f"a block of {len(inputs)} tokens takes {needed} bytes, "
                f"the memory's budget is {self.budget_bytes}"
            )
        local = self.blocks[-self._local_blocks :] if self._local_blocks else ()
        context, moved, _ = bring_together(
            [self.sinks, *(block.kv for block in local)],
            inputs,
            following=int(inputs.positions.max()) + 1,
            moving_axes=self._vlm.moving_axes,
            policy=self._policy,
            max_span=self._max_span,
        )
        assert moved is not None
        copied = self._vlm.open_context(context)
        self.evict(self.budget_bytes - needed)
        # The ledger keeps the stream's own positions, not those of this context.
        kv = replace(self._vlm.prefill(moved, copied).kv, positions=inputs.positions)
        block = KVBlock(
            block_id=self._next_id,
            kv=kv,
            summary=summarise(self._vlm.index_keys(kv), inputs.is_visual),
            interval=interval,
            is_visual=inputs.is_visual,
            clip_lengths=tuple(clip_lengths) or (len(inputs),),
        )
        self._keep(block)
        return block

    def extend(self, end: StreamTime) -> None:
        """The newest block stands for what was seen until `end`: nothing new, but time went on.
        Needs a block.
        """
        block_id, block = next(reversed(self._blocks.items()))
        self._blocks[block_id] = replace(block, interval=block.interval.until(end))

    def recall(
        self, probe: Tensor, num_blocks: int, within: Sequence[Stretch] | None = None
    ) -> Recall:
        """`find`, then `fit`."""
        return self.fit(self.find(probe, num_blocks, within), probe)

    def find(
        self,
        probe: Tensor,
        num_blocks: int,
        within: Sequence[Stretch] | None = None,
        *,
        max_tokens: int | None = None,
    ) -> Recall:
        """The `num_blocks` blocks with the highest scores for `probe` float32 [R], oldest first: of
        all, or of those that have a moment in one of the stretches `within` of stream seconds. With
        `max_tokens` the best ones that have no more together, but never fewer than `num_blocks`.

        Nothing where the best block does not stand out as the settings want it to, unless stretches
        are given: who names a time means history. Changes nothing. Raises ValueError for a stretch
        that ends before it starts.
        """
        among = None if within is None else self._within(within)
        most = num_blocks if max_tokens is None else len(self._blocks)
        hits = self._index.search(probe, most, among)
        if not hits or (within is None and not self._stands_out(probe, hits[0][0])):
            return NOTHING
        if max_tokens is not None:
            lengths = (len(self._blocks[block_id].kv) for block_id, _ in hits)
            fitting = sum(total <= max_tokens for total in accumulate(lengths))
            hits = hits[: max(num_blocks, fitting)]
        scores = dict(hits)
        chosen = [block for block_id, block in self._blocks.items() if block_id in scores]
        return Recall(
            blocks=tuple(chosen), scores=tuple(scores[block.block_id] for block in chosen)
        )

    def fit(self, found: Recall, probe: Tensor) -> Recall:
        """Only the best tokens of these blocks where the settings have a budget."""
        if not self._recall.max_tokens:
            return found
        return fit_to_budget(found, probe, self._recall.max_tokens, self._vlm.index_keys)

    def evict(self, budget_bytes: int) -> int:
        """Forget the oldest blocks until at most `budget_bytes` are used. Gives the number
        forgotten.
        """
        count = 0
        while self._num_bytes > budget_bytes:
            self._forget(next(iter(self._blocks)))
            count += 1
        self.num_evicted += count
        return count

    def check(self) -> None:
        """Assert that the books balance: bytes, budget, index and order. For tests and idle
        moments.
        """
        counted = sum(block.kv.num_bytes for block in self._blocks.values())
        assert counted == self._num_bytes, f"{counted} bytes in blocks, {self._num_bytes} booked"
        assert self._num_bytes <= self.budget_bytes, "over budget"
        assert self._index.block_ids() == set(self._blocks), "index and blocks differ"
        assert list(self._blocks) == sorted(self._blocks), "blocks out of order"

    def _within(self, within: Sequence[Stretch]) -> list[int]:
        check(within)
        blocks = self._blocks.items()
        return [block_id for block_id, block in blocks if overlaps(block.interval, within)]

    def _stands_out(self, probe: Tensor, block_id: int) -> bool:
        if not self._recall.gate:
            return True
        usual = self._index.sample(BACKGROUND_BLOCKS)
        ids, scores = self._index.scores(probe, sorted({*usual, block_id}))
        best = float(scores[ids == block_id])
        return standing(scores, best) >= self._recall.gate

    def _keep(self, block: KVBlock) -> None:
        self._blocks[block.block_id] = block
        self._index.add(block.block_id, block.summary)
        self._num_bytes += block.kv.num_bytes
        self._next_id = block.block_id + 1

    def _forget(self, block_id: int) -> None:
        block = self._blocks.pop(block_id)
        self._index.remove(block_id)
        self._num_bytes -= block.kv.num_bytes
