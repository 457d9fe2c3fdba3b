"""Ingest: reads the sources of streams and carries their clips to the workers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services import keys
from services.registry import Registry
from services.server import GRACE_SECONDS, Listening, Part, listening
from services.sources import SourceServicer
from services.store import Store
from services.threads import Threads
from services.upkeep import background, repeat
from streamvlm.config import Config
from streamvlm.errors import MetadataError
from streamvlm.wire.v1 import stream_service_pb2
from streamvlm.wire.v1.stream_service_pb2_grpc import add_StreamServiceServicer_to_server

logger = logging.getLogger(__name__)


@asynccontextmanager
async def ingesting(
    config: Config, store: Store, name: str, *, grace_seconds: float = GRACE_SECONDS
) -> AsyncIterator[Listening]:
    """An ingest while it runs. Raises ConfigError, AddressInUseError."""
    registry, threads = Registry(store), Threads()
    sources = SourceServicer(config.capture, registry, threads, name)
    part = Part.of(
        stream_service_pb2,
        "StreamService",
        add_StreamServiceServicer_to_server,
        sources,
    )
    try:
        async with listening(config.ingest.listen, [part], grace_seconds=grace_seconds) as listens:
            address = config.ingest.advertise or listens.address

            async def beat() -> None:
                await registry.announce_ingest(name, address)
                await listens.announce(True)
                await sources.adopt()

            try:
                async with background(repeat("presence", keys.BEAT_SECONDS, beat)):
                    logger.info("ingest %s serves on %s", name, listens.address)
                    yield listens
            finally:
                with contextlib.suppress(MetadataError):
                    await registry.withdraw(keys.INGESTS + name)
                await sources.close()
    finally:
        threads.close()
