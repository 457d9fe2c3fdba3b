"""The newest alerts, for whoever subscribes: bounded, each reader at its own pace.

In the memory of this process: what happened before a restart is gone with it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from streamvlm.alerts import Alert
from streamvlm.errors import CapacityError

MAX_ALERTS = 4096
MAX_SUBSCRIBERS = 64


class EventLog:
    """Alerts by number, in the order in which they came; belongs to the event loop."""

    def __init__(self, max_alerts: int = MAX_ALERTS) -> None:
        self._run = uuid.uuid4().hex[:12]
        self._alerts: deque[Alert] = deque(maxlen=max_alerts)
        self._next = 0
        self._has_news = asyncio.Condition()
        self.num_subscribers = 0
        """Readers of now."""

    @property
    def oldest(self) -> int:
        """Number of the oldest alert that is kept, or of the next where there is none."""
        return self._next - len(self._alerts)

    async def add(self, alert: Alert) -> None:
        """One more; the oldest goes where there is no room."""
        async with self._has_news:
            self._alerts.append(alert)
            self._next += 1
            self._has_news.notify_all()

    async def read(self, number: int) -> tuple[int, Alert]:
        """The alert of this number, or the oldest kept behind it, with its own number; waits for
        it.
        """
        async with self._has_news:
            await self._has_news.wait_for(lambda: self._next > number)
            found = max(number, self.oldest)
            return found, self._alerts[found - self.oldest]

    @contextmanager
    def subscribe(self) -> Iterator[None]:
        """Count one more reader. Raises CapacityError."""
        if self.num_subscribers >= MAX_SUBSCRIBERS:
            raise CapacityError(f"{MAX_SUBSCRIBERS} subscribe to events, no more can")
        self.num_subscribers += 1
        try:
            yield
        finally:
            self.num_subscribers -= 1

    def token(self, number: int) -> str:
        """What a reader shows to go on with this number."""
        return f"{self._run}-{number}"

    def number_of(self, token: str) -> int | None:
        """Where to go on: behind all alerts without a token; None for a token of another run of the
        service, or of none.
        """
        if not token:
            return self._next
        run, _, number = token.partition("-")
        is_ours = run == self._run and number.isdecimal() and len(number) < 16
        return int(number) if is_ours and int(number) <= self._next else None
