"""What all streams of a process share: a budget for each tier, and threads that read files."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Protocol

from streamvlm.types import Tier

NUM_READERS = 8
"""Files read at a time: hashing and the disk's queue are busy, the model's thread is not crowded
out."""


class Giver(Protocol):
    """The memory of a stream, as the others see it."""

    def bytes_in(self, tier: Tier) -> int:
        """What its blocks take there."""
        ...

    def give(self, tier: Tier) -> None:
        """Let one block go down from there."""
        ...


class SharedBudget:
    """Bytes that all streams together may take in each tier. The stream that takes most gives way,
    so that under pressure shares become equal, but for a block or two.

    Whoever changes a memory holds `lock`: a stream is restored on another thread than the engine's,
    and takes from nobody (`is_free`).
    """

    def __init__(self, limits: Mapping[Tier, int] | None = None) -> None:
        """Tiers that are not in `limits` are bounded by the budgets of the streams only."""
        self.lock = threading.RLock()
        self._limits = dict(limits or {})
        # In the order in which they joined, so that it is always the same one that gives; weak, so
        # that bytes count until they are really free and not longer.
        self._members: weakref.WeakKeyDictionary[Giver, None] = weakref.WeakKeyDictionary()

    @cached_property
    def readers(self) -> ThreadPoolExecutor:
        """Threads that read blocks from the disk."""
        return ThreadPoolExecutor(NUM_READERS, thread_name_prefix="recall")

    def join(self, member: Giver) -> None:
        """What this memory takes counts from now on."""
        with self.lock:
            self._members[member] = None

    def bytes_in(self, tier: Tier) -> int:
        """What all blocks take there."""
        with self.lock:
            return sum(member.bytes_in(tier) for member in self._members)

    def is_free(self, tier: Tier, num_bytes: int) -> bool:
        """Whether so much is free without anybody giving way."""
        limit = self._limits.get(tier)
        return limit is None or self.bytes_in(tier) + num_bytes <= limit

    def make_room(self, tier: Tier, num_bytes: int) -> bool:
        """Have streams give way until so much is free; whether it can be. Holds `lock`."""
        if num_bytes > self._limits.get(tier, num_bytes):
            return False
        while not self.is_free(tier, num_bytes):
            max(self._members, key=lambda member: member.bytes_in(tier)).give(tier)
        return True
