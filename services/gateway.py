"""The gateway: the public API. It checks, routes, and never sees a picture; torch is not loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from prometheus_client.core import Metric

from services.asking import AskingServicer
from services.credentials import KeyCheck, server_credentials
from services.event_log import EventLog
from services.events import EventServicer
from services.metrics import collecting, gauge
from services.registry import Registry
from services.relay import Channels
from services.requests import RequestMemory
from services.routes import Routes
from services.rule_table import RuleTable
from services.rules import RuleServicer
from services.server import GRACE_SECONDS, Listening, Part, listening
from services.store import Store
from services.streams import StreamServicer
from services.upkeep import background, repeat
from services.webhooks import WebhookServicer
from streamvlm.config import Config
from streamvlm.errors import StreamVLMError
from streamvlm.wire.v1 import (
    event_service_pb2,
    query_service_pb2,
    rule_service_pb2,
    stream_service_pb2,
    webhook_service_pb2,
)
from streamvlm.wire.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from streamvlm.wire.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from streamvlm.wire.v1.rule_service_pb2_grpc import add_RuleServiceServicer_to_server
from streamvlm.wire.v1.stream_service_pb2_grpc import add_StreamServiceServicer_to_server
from streamvlm.wire.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server

logger = logging.getLogger(__name__)

MAX_CALLS = 256
"""Of all callers together."""
SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (stream_service_pb2, "StreamService"),
        (query_service_pb2, "QueryService"),
        (rule_service_pb2, "RuleService"),
        (event_service_pb2, "EventService"),
        (webhook_service_pb2, "WebhookService"),
    )
)
_OPTIONS = (
    # New calls find new balancing; calls on their way may end in peace.
    ("grpc.max_connection_age_ms", 30 * 60 * 1000),
)
LOOK_SECONDS = 0.25
"""How often it is found out whether calls can be served."""


class Gateway:
    """A gateway that runs."""

    def __init__(self, listens: Listening, events: EventServicer) -> None:
        self.address = listens.address
        self._events = events
        self.ready = asyncio.Event()
        """A worker and an ingest are there, so that calls can be served."""

    @property
    def num_subscribers(self) -> int:
        """Who follow events now."""
        return self._events.num_subscribers


@asynccontextmanager
async def routing(
    config: Config, store: Store, address: str, *, grace_seconds: float = GRACE_SECONDS
) -> AsyncIterator[Gateway]:
    """A gateway while it runs. Raises ConfigError, AddressInUseError."""
    registry, channels, log = Registry(store), Channels(), EventLog(store)
    routes, table = Routes(registry), RuleTable(store, config.watch.max_rules)
    stream_pb, rule_pb = stream_service_pb2, rule_service_pb2
    memories = (
        RequestMemory(store, "CreateStream", stream_pb.CreateStreamResponse),
        RequestMemory(store, "DeleteStream", stream_pb.DeleteStreamResponse),
        RequestMemory(store, "CreateRule", rule_pb.CreateRuleResponse),
        RequestMemory(store, "UpdateRule", rule_pb.UpdateRuleResponse),
        RequestMemory(store, "DeleteRule", rule_pb.DeleteRuleResponse),
    )
    events = EventServicer(log)
    adders = (
        add_StreamServiceServicer_to_server,
        add_QueryServiceServicer_to_server,
        add_RuleServiceServicer_to_server,
        add_EventServiceServicer_to_server,
        add_WebhookServiceServicer_to_server,
    )
    servicers = (
        StreamServicer(registry, routes, channels, memories[0], memories[1]),
        AskingServicer(routes, channels),
        RuleServicer(table, routes, channels, *memories[2:]),
        events,
        WebhookServicer(store),
    )
    parts = list(map(Part, SERVICES, adders, servicers))
    keys = KeyCheck(config.gateway.api_keys_file)
    try:
        async with listening(
            address,
            parts,
            grace_seconds=grace_seconds,
            interceptors=[keys] if config.gateway.api_keys_file else [],
            credentials=server_credentials(config.gateway),
            max_calls=MAX_CALLS,
            options=_OPTIONS,
        ) as listens:
            gateway = Gateway(listens, events)

            async def look() -> None:
                is_ready = False
                with contextlib.suppress(StreamVLMError):
                    is_ready = bool(await registry.workers() and await registry.ingests())
                await listens.announce(is_ready)
                if is_ready:
                    gateway.ready.set()

            def metrics() -> Iterator[Metric]:
                yield gauge("subscribers", "Who follow events now.", gateway.num_subscribers)

            async with background(repeat("health", LOOK_SECONDS, look)):
                logger.info("gateway listens on %s", listens.address)
                with collecting(metrics):
                    yield gateway
    finally:
        await asyncio.gather(*(memory.close() for memory in memories))
        await channels.close()
