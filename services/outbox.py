"""What the engine decided, on its way to Redis: in order, never lost while this process lives.

Bounded: where Redis is away for long, the oldest go, counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from services.event_log import EventLog
from streamvlm.alerts import Alert, CameraChange
from streamvlm.errors import FencedError, MetadataError

logger = logging.getLogger(__name__)

MAX_WAITING = 10_000
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)


class Outbox:
    """Events that wait; belongs to the event loop."""

    def __init__(self, log: EventLog, epoch_of: Callable[[str], int]) -> None:
        self._log, self._epoch_of = log, epoch_of
        self._waiting: deque[tuple[Alert | CameraChange, int]] = deque()
        self._has_news, self._is_empty = asyncio.Event(), asyncio.Event()
        self._is_empty.set()
        self.num_lost = 0
        """Since the start: Redis was away for too long."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Alert | CameraChange) -> None:
        """One more, in the epoch in which its stream is held now."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.num_lost += 1
            logger.error("Redis is away for too long: %d events are lost", self.num_lost)
        self._waiting.append((event, self._epoch_of(event.stream_id)))
        self._is_empty.clear()
        self._has_news.set()

    async def run(self) -> None:
        """Write what waits, for ever."""
        failures = 0
        while True:
            await self._has_news.wait()
            while self._waiting:
                event, epoch = self._waiting[0]
                try:
                    await self._log.publish(event, epoch)
                except MetadataError as error:
                    if not failures:
                        logger.warning("events wait: %s", error)
                    await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                    failures += 1
                    continue
                except FencedError as error:
                    logger.error("not told: %s", error)
                failures = 0
                if self._waiting and self._waiting[0][0] is event:  # it may have had to go
                    self._waiting.popleft()
            self._has_news.clear()
            self._is_empty.set()

    async def drain(self, timeout_seconds: float) -> None:
        """Return when nothing waits, or at the timeout."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._is_empty.wait()
        except TimeoutError:
            logger.error("%d events still wait after %g s", len(self._waiting), timeout_seconds)
