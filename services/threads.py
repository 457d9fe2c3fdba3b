"""Threads for what blocks, apart by what it waits for: a frame never waits for a camera."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

Purpose = Literal["opening", "closing", "pushing"]

_NUM_THREADS: dict[Purpose, int] = {"opening": 16, "closing": 8, "pushing": 8}
"""A silent camera holds one until its time to open is over, a decoder that ends for 2 s at most, a
picture for milliseconds."""

_Result = TypeVar("_Result")


class Threads:
    """Runs blocking work for the event loop."""

    def __init__(self) -> None:
        self._pools = {
            purpose: ThreadPoolExecutor(number, thread_name_prefix=purpose)
            for purpose, number in _NUM_THREADS.items()
        }

    def run(self, purpose: Purpose, work: Callable[[], _Result]) -> asyncio.Future[_Result]:
        """The result of the work. Begins at once or when a thread of its purpose is free."""
        return asyncio.get_running_loop().run_in_executor(self._pools[purpose], work)

    def close(self) -> None:
        """End all threads, once they have done what they were given."""
        for pool in self._pools.values():
            pool.shutdown()
