"""The worker: one engine, the memory of many streams, the alerts that its rules lead to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client.core import Metric

from services import keys
from services.cameras import CameraWatch
from services.event_log import EventLog
from services.host import EngineHost
from services.memory import MemoryServicer
from services.metrics import collecting, counter, gauge, snapshot_metrics, stream_metrics
from services.outbox import Outbox
from services.query import QueryServicer
from services.redaction import Redaction
from services.registry import Registry, Worker
from services.rule_table import RuleTable
from services.server import GRACE_SECONDS, Listening, Part, listening
from services.store import Store
from services.threads import Threads
from services.trial import TrialServicer
from services.upkeep import background, repeat
from services.watching import WatchingServicer
from streamvlm.alerts import Alert
from streamvlm.config import Config
from streamvlm.errors import CapacityError, FencedError, MetadataError, RuleNotFoundError
from streamvlm.types import UtcInterval
from streamvlm.wire.v1 import (
    query_service_pb2,
    rule_service_pb2,
    stream_service_pb2,
    worker_service_pb2,
)
from streamvlm.wire.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from streamvlm.wire.v1.rule_service_pb2_grpc import add_RuleServiceServicer_to_server
from streamvlm.wire.v1.stream_service_pb2_grpc import add_StreamServiceServicer_to_server
from streamvlm.wire.v1.worker_service_pb2_grpc import add_WorkerServiceServicer_to_server

logger = logging.getLogger(__name__)

RULES_SECONDS = 0.5
"""How soon a worker finds out by itself that rules have changed."""
CAMERAS_SECONDS = 1.0
DRAIN_SECONDS = 3.0


@asynccontextmanager
async def working(
    config: Config,
    store: Store,
    name: str,
    folder: Path | None = None,
    *,
    grace_seconds: float = GRACE_SECONDS,
) -> AsyncIterator[tuple[Listening, EngineHost]]:
    """A worker while it runs; there as soon as its model is loaded. What its streams remember is
    kept in `folder`, which workers of one machine may share.

    Raises ConfigError, CheckpointError, AddressInUseError.
    """
    worker = _Working(config, store, name, folder)
    parts = [
        Part.of(
            worker_service_pb2,
            "WorkerService",
            add_WorkerServiceServicer_to_server,
            worker.watching,
        ),
        Part.of(
            query_service_pb2,
            "QueryService",
            add_QueryServiceServicer_to_server,
            QueryServicer(worker.host),
        ),
        Part.of(
            stream_service_pb2,
            "StreamService",
            add_StreamServiceServicer_to_server,
            MemoryServicer(worker.host, worker.erase_events),
        ),
        Part.of(
            rule_service_pb2,
            "RuleService",
            add_RuleServiceServicer_to_server,
            TrialServicer(worker.host),
        ),
    ]
    try:
        async with listening(config.worker.listen, parts, grace_seconds=grace_seconds) as listens:
            worker.watching.address = config.worker.advertise or listens.address
            await worker.host.start()
            async with background(*worker.upkeep()):
                try:
                    await worker.announced.wait()
                    await listens.announce(True)
                    logger.info("worker %s serves on %s", name, listens.address)
                    with collecting(worker.metrics):
                        yield listens, worker.host
                finally:
                    await worker.leave()
    finally:
        worker.threads.close()


class _Working:
    """What a worker does besides its calls."""

    def __init__(self, config: Config, store: Store, name: str, folder: Path | None) -> None:
        self._config, self._name = config, name
        self._registry, self._log = Registry(store), EventLog(store)
        self._redaction = Redaction(store)
        self._rules = RuleTable(store, config.watch.max_rules)
        self.threads = Threads()
        self._outbox = Outbox(self._log, lambda stream_id: self.watching.epoch(stream_id))
        self.host = EngineHost(config, self._outbox.put, folder and folder / "snapshots")
        self.watching = WatchingServicer(self.host, self._registry, self.threads, name, self)
        self._learning = asyncio.Lock()
        self.announced = asyncio.Event()
        """Others know of this worker."""
        self._rules_version = -1
        self._cameras = CameraWatch(config.watch.lost_seconds)
        self._delivery = "$"

    def upkeep(self) -> list[asyncio.Task[None]]:
        """What goes on in the background."""
        return [
            asyncio.create_task(each)
            for each in (
                self._outbox.run(),
                repeat("rules", RULES_SECONDS, self.learn_rules),
                repeat("presence", keys.BEAT_SECONDS, self._beat),
                repeat("cameras", CAMERAS_SECONDS, self._watch_cameras),
                repeat("deliveries", 0.0, self._hear_of_deliveries),
                repeat("leftovers", 10 * keys.BEAT_SECONDS, self._drop_leftovers),
            )
        ]

    def metrics(self) -> Iterator[Metric]:
        """What Prometheus reads; on a thread of its own."""
        engine = self.host.engine
        yield from stream_metrics(engine.list_streams())
        yield from snapshot_metrics(engine.snapshots.status())
        yield counter("snapshot_failures", "Snapshots not written.", engine.snapshots.num_failures)
        yield counter("looks", "Looks of rules at streams.", engine.rules.num_looks)
        yield gauge("outbox_events", "Events that wait for Redis.", len(self._outbox))
        yield counter("events_lost", "Events that Redis was away for.", self._outbox.num_lost)

    async def leave(self) -> None:
        """Tell everybody at once, so that nobody has to wait for leases to end; stop the engine."""
        with contextlib.suppress(MetadataError):
            await self._registry.withdraw(keys.WORKERS + self._name)
        await self.host.stop()
        await self._outbox.drain(DRAIN_SECONDS)
        with contextlib.suppress(MetadataError):
            await self.watching.release()

    async def _beat(self) -> None:
        if self._rules_version < 0:
            return  # not before it knows what to watch for
        engine = self.host.engine
        await self._registry.announce_worker(
            Worker(
                name=self._name,
                address=self.watching.address,
                rule=engine.vlm.patch_spec.rule,
                num_streams=len(engine.list_streams()),
                max_streams=self._config.engine.max_streams,
            )
        )
        self.announced.set()
        await self.watching.renew()

    async def learn_rules(self) -> None:
        """Return when the rules of now are watched for. Raises MetadataError."""
        async with self._learning:
            await self._learn_changes()

    async def _learn_changes(self) -> None:
        version = await self._rules.version()
        if version == self._rules_version:
            return
        is_first = self._rules_version < 0
        wanted = {rule.rule_id: rule for rule in await self._rules.all()}
        table = self.host.engine.rules
        for rule in table.all():
            if wanted.get(rule.rule_id) != rule:
                with contextlib.suppress(RuleNotFoundError):
                    table.remove(rule.rule_id)
        known = {rule.rule_id for rule in table.all()}
        for rule_id in wanted.keys() - known:
            try:
                table.add(wanted[rule_id])
            except CapacityError as error:
                logger.error("rule %s is not watched for: %s", rule_id, error)
        self._rules_version = version
        self.host.engine.wake()
        if is_first:
            await self._beat()

    async def erase_events(self, stream_id: str, span: UtcInterval) -> int:
        """Forget the alerts about what was seen in the span. Raises MetadataError."""
        await self._outbox.drain(DRAIN_SECONDS)
        return await self._redaction.erase(stream_id, span)

    async def take_over(self, stream_id: str) -> None:
        """Go on with the alerts and the outage that another worker told of and that have not ended;
        an alert whose rule is gone expires. Raises MetadataError.
        """
        await self.learn_rules()
        rules = self.host.engine.rules
        looking = {rule.rule_id for rule in rules.all() if rule.watches(stream_id)}
        for alert in await self._open_alerts(stream_id):
            if alert.rule_id in looking:
                rules.resume(alert)
            else:
                self._outbox.put(alert.expired())
        if outage := (await self._log.outages()).get(stream_id):
            self._cameras.resume(outage)

    async def let_go(self, stream_id: str, *, is_removed: bool) -> None:
        """What is open about a stream that is none any more ends; of another worker's stream that
        goes on there. Raises MetadataError.
        """
        self._cameras.forget(stream_id)
        self.host.engine.rules.forget(stream_id)
        if not is_removed:
            return
        await self._outbox.drain(DRAIN_SECONDS)
        for alert in await self._open_alerts(stream_id):
            self._outbox.put(alert.expired())  # the engine says so too, but not before it looks
        await self._outbox.drain(DRAIN_SECONDS)
        await self._log.forget_outage(stream_id)

    async def _open_alerts(self, stream_id: str) -> list[Alert]:
        return [each for each in await self._log.open_alerts() if each.stream_id == stream_id]

    async def _watch_cameras(self) -> None:
        streams = self.host.engine.list_streams()
        held = [each for each in streams if self.watching.holds(each.stream_id)]
        for change in self._cameras.changes(held):
            self._outbox.put(change)

    async def _hear_of_deliveries(self) -> None:
        self._delivery, pairs = await self._log.deliveries(self._delivery)
        for rule_id, stream_id in pairs:
            self.host.engine.rules.delivered(rule_id, stream_id)

    async def _drop_leftovers(self) -> None:
        """Streams that were removed while nobody could be told, and what was open about them."""
        records = await self._registry.streams()
        for stream_id in self.watching.idle():
            if stream_id not in records:
                await self.watching.drop(stream_id, is_removed=True)
        await self.watching.erase_removed(self.host.engine.snapshots.idle())
        for alert in await self._log.open_alerts():
            if alert.stream_id not in records:
                epoch = await self._registry.epoch(alert.stream_id)  # who comes later has another
                if await self._is_nobodys(alert.stream_id):
                    with contextlib.suppress(FencedError):
                        await self._log.publish(alert.expired(), epoch)
        for stream_id in await self._log.outages():
            if stream_id not in records and await self._is_nobodys(stream_id):
                await self._log.forget_outage(stream_id)

    async def _is_nobodys(self, stream_id: str) -> bool:
        return await self._registry.owner(stream_id) is None
