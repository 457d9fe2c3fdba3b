"""The notifier: every event reaches every webhook at least once, in the order of its rule unless it
was dead.

Each webhook reads the events as a consumer group of its own; what it has read and not delivered
stays with the group, so a notifier that is killed goes on where it was. One notifier at a time has
a webhook, by a lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx

from services import keys
from services.envelope import envelope, message_id, ordering_key
from services.event_log import EventLog, NumberedEvent, numbered
from services.letters import Letter, Letters, group
from services.metrics import ALERT_SECONDS, DEAD, DELIVERIES
from services.registry import Registry
from services.server import Listening, listening
from services.store import Store
from services.upkeep import background, repeat
from services.webhook import Attempt, Webhook
from streamvlm.alerts import Alert, AlertState, CameraChange
from streamvlm.config import NotifyConfig
from streamvlm.errors import MetadataError
from streamvlm.wire.alerts import alert_to_proto, event_from_proto

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 256
"""Events of one webhook that are being delivered; the others wait in Redis."""
WAIT_SECONDS = 2.0
"""How long one reading waits for events; the lease lasts longer."""
LOOK_SECONDS = 1.0
"""How often it is found out whether Redis is there."""
MAX_REPLAY_FAILURES = 5
"""In a row, after which dead letters are left dead."""
_JITTER = 0.2
_CONSUMER = "notifier"
"""Whoever has the lease reads under this name, and finds what the one before left behind."""


@asynccontextmanager
async def notifying(config: NotifyConfig, store: Store, name: str) -> AsyncIterator[Listening]:
    """A notifier while it runs; it tells its health and nothing else.

    Raises ConfigError, AddressInUseError.
    """
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
    async with (
        listening(config.listen, [], grace_seconds=0.0) as listens,
        httpx.AsyncClient(
            timeout=config.timeout_seconds, limits=limits, follow_redirects=False, trust_env=False
        ) as client,
    ):
        routes = [
            Route(Webhook(webhook, client), config.retry_seconds, store, name)
            for webhook in config.webhooks
        ]

        async def look() -> None:
            await listens.announce(await store.is_there())

        async with background(
            repeat("health", LOOK_SECONDS, look), *(route.run() for route in routes)
        ):
            logger.info("notifier %s serves %d webhooks", name, len(routes))
            yield listens


class Route:
    """From the events to one webhook."""

    def __init__(
        self, webhook: Webhook, retry_seconds: tuple[float, ...], store: Store, name: str
    ) -> None:
        self._webhook, self._retry_seconds = webhook, retry_seconds
        self._store, self._name = store, name
        self._registry, self._log = Registry(store), EventLog(store)
        route = webhook.config.name
        self._letters, self._group = Letters(store, route), group(route)
        self._lease = keys.route(route, "lease")
        self._queues: dict[str, deque[Letter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._has_room = asyncio.Event()
        self._reads_left = True
        """Whether what the notifier before this one left behind is still being read."""
        self._left_at = "0"
        self._replaying: asyncio.Task[None] | None = None
        self._must_let_go = False
        """The webhook said that it is gone: what is in flight waits for nothing."""

    async def run(self) -> None:
        """Deliver for ever."""
        try:
            await repeat(f"webhook {self._webhook.config.name}", 0.0, self._advance)
        finally:
            for task in self._tasks:
                task.cancel()
            with contextlib.suppress(Exception):
                await self._registry.unlease(self._lease, self._name)

    async def _advance(self) -> None:
        """Read some events, as long as the webhook is ours. Raises MetadataError."""
        is_ours = await self._registry.lease(self._lease, self._name)
        is_disabled = await self._letters.is_disabled()
        if not is_ours or is_disabled or self._must_let_go:
            self._let_go()
            if is_ours and not is_disabled:
                return
            await asyncio.sleep(WAIT_SECONDS)
            return
        if self._num_in_flight >= MAX_IN_FLIGHT:
            self._has_room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._has_room.wait()
            return
        if self._replaying is None and await self._letters.is_replay_wanted():
            self._replaying = self._start(self._replay())
        for event in await self._read(MAX_IN_FLIGHT - self._num_in_flight):
            self._take(Letter(event))

    async def _replay(self) -> None:
        """Try dead letters again, one by one and once each, beside what happens now; until none is
        left, or several in a row failed: then the webhook is still not well.
        """
        try:
            failures = 0
            while (letter := await self._letters.next_to_replay()) is not None:
                if event_from_proto(letter.event.event) is None:
                    await self._letters.done(letter)
                    continue
                attempt = await self._send(letter)
                failures = 0 if attempt.is_delivered else failures + 1
                if failures:
                    await self._letters.bury(letter, attempt.problem)
                if failures >= MAX_REPLAY_FAILURES:
                    logger.error("webhook %s: the rest stays dead", self._webhook.config.name)
                    await self._letters.give_up_replay()
        except MetadataError as error:
            logger.warning("webhook %s: %s", self._webhook.config.name, error)
        finally:
            self._replaying = None

    @property
    def _num_in_flight(self) -> int:
        return sum(map(len, self._queues.values()))

    def _let_go(self) -> None:
        """What is in flight is read again by whoever has the webhook next."""
        for task in self._tasks:
            task.cancel()
        self._queues.clear()
        self._reads_left, self._left_at, self._must_let_go = True, "0", False

    async def _read(self, count: int) -> list[NumberedEvent]:
        behind = self._left_at if self._reads_left else ">"
        reading = self._store.waiting.xreadgroup(
            self._group,
            _CONSUMER,
            {keys.EVENTS: behind},
            count=count,
            block=int(WAIT_SECONDS * 1000),
        )
        try:
            found = numbered(await self._store.wait_for(reading, WAIT_SECONDS))
        except MetadataError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group()
            return []
        if self._reads_left:
            self._reads_left = bool(found)
            if found:
                self._left_at = f"{found[-1].number}-0"
        return found

    async def _make_group(self) -> None:
        """The webhook is new: it hears of what comes from now on."""
        with self._store.errors():
            await self._store.redis.xgroup_create(keys.EVENTS, self._group, id="$", mkstream=True)

    def _take(self, letter: Letter) -> None:
        event = event_from_proto(letter.event.event)
        if event is None or not self._is_wanted(event):
            self._start(self._until_it_works(lambda: self._letters.done(letter)))
            return
        key = ordering_key(event)
        if key in self._queues:
            self._queues[key].append(letter)
            return
        self._queues[key] = deque([letter])
        self._start(self._deliver_all(key))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _is_wanted(self, event: Alert | CameraChange) -> bool:
        config = self._webhook.config
        if config.stream_ids and event.stream_id not in config.stream_ids:
            return False
        if isinstance(event, CameraChange):
            return not config.rule_ids
        is_for_rule = not config.rule_ids or event.rule_id in config.rule_ids
        return is_for_rule and event.state is not AlertState.SUPPRESSED

    async def _deliver_all(self, key: str) -> None:
        """One after the other, until none of this key waits."""
        queue = self._queues[key]
        while queue:
            await self._deliver(queue[0])
            queue.popleft()
            self._has_room.set()
        if self._queues.get(key) is queue:
            del self._queues[key]

    async def _deliver(self, letter: Letter) -> None:
        """Try until it is delivered or dead; a failure of Redis is tried again too."""
        name, problem = self._webhook.config.name, ""
        for pause in (*self._retry_seconds, None):
            attempt = await self._send(letter)
            if attempt.is_delivered:
                return
            problem = attempt.problem
            if pause is None:
                break
            wait = pause * random.uniform(1 - _JITTER, 1 + _JITTER)
            wait = max(wait, attempt.wait_seconds or 0.0)
            logger.warning("webhook %s: %s; again in %.1f s", name, problem, wait)
            await asyncio.sleep(wait)
        DEAD.labels(name).inc()
        logger.error("webhook %s: event %d is dead: %s", name, letter.event.number, problem)
        await self._until_it_works(lambda: self._letters.bury(letter, problem))

    async def _send(self, letter: Letter) -> Attempt:
        """Try once; never comes back where the webhook says that it is gone."""
        event = event_from_proto(letter.event.event)
        assert event is not None
        body = envelope(
            event,
            letter.event.number,
            expire_seconds=self._webhook.config.expire_seconds,
            now_utc_seconds=time.time(),
        )
        attempt = await self._webhook.send(message_id(event), body)
        name, outcome = self._webhook.config.name, attempt.problem.partition(":")[0]
        DELIVERIES.labels(name, outcome or "delivered").inc()
        if attempt.is_delivered:
            happened = event.observed if isinstance(event, Alert) else event.blind.end
            ALERT_SECONDS.labels(name).observe(max(0.0, time.time() - happened.utc_seconds))
            await self._until_it_works(lambda: self._delivered(letter, event))
        elif attempt.is_gone:
            logger.error("webhook %s wants nothing any more: %s", name, attempt.problem)
            await self._until_it_works(partial(self._letters.disable, attempt.problem))
            self._must_let_go = True
            self._has_room.set()
            await asyncio.Event().wait()  # until `_let_go` ends this
        return attempt

    async def _delivered(self, letter: Letter, event: Alert | CameraChange) -> None:
        if isinstance(event, Alert):
            await self._log.note_delivery(alert_to_proto(event))
        await self._letters.done(letter)

    async def _until_it_works(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
                return
            except MetadataError as error:
                logger.warning("webhook %s: %s", self._webhook.config.name, error)
                await asyncio.sleep(0.5)
