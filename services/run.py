"""One service, or all of them, as a process: from start to SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path

import uvloop

from services.metrics import exporting
from services.store import connected
from streamvlm.config import Config
from streamvlm.errors import ConfigError, StreamVLMError

logger = logging.getLogger(__name__)


class Service(StrEnum):
    """What a process can be."""

    ALL = "all"
    GATEWAY = "gateway"
    INGEST = "ingest"
    WORKER = "worker"
    NOTIFIER = "notifier"


def run(
    service: Service,
    config: Config,
    *,
    address: str,
    folder: Path,
    redis_url: str,
    name: str,
    metrics: str = "",
    on_ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Run it until SIGTERM or SIGINT; `on_ready` hears the address that it listens on.

    `address` is the gateway's, `folder` is for what all in one process keep, or a worker of its
    streams, `redis_url` for a service that is a process of its own, `name` tells it from others of
    its kind, and `metrics` is where Prometheus finds it, HOST:PORT, or empty.

    Raises ConfigError, CheckpointError, AddressInUseError, MetadataError where it cannot start, and
    StreamVLMError where the engine failed.
    """
    # While the model is being loaded there is nothing to end gracefully: Ctrl-C just ends it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if service is Service.ALL:
        starting = _all(config, address, folder.expanduser())
    elif not redis_url:
        raise ConfigError(f"the {service} needs a Redis: set STREAMVLM_REDIS_URL")
    else:
        starting = _alone(service, config, address, folder.expanduser(), redis_url, name)
    with exporting(metrics):
        uvloop.run(_run(starting, on_ready))


Running = tuple[str, "asyncio.Future[None]"]
"""Where it listens, and what is done when it cannot go on."""


async def _run(
    starting: contextlib.AbstractAsyncContextManager[Running], on_ready: Callable[[str], None]
) -> None:
    loop, must_stop = asyncio.get_running_loop(), asyncio.Event()
    async with starting as (address, ended):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, must_stop.set)
        ended.add_done_callback(lambda _: must_stop.set())
        on_ready(address)
        await must_stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            # Who asks a second time has no patience left.
            signal.signal(number, signal.SIG_DFL)
        logger.info("stopping")
    if ended.done() and (failure := ended.exception()) is not None:
        logger.critical("the engine failed", exc_info=failure)
        raise StreamVLMError("the engine failed; the log of the service has the details")


@asynccontextmanager
async def _all(config: Config, address: str, folder: Path) -> AsyncIterator[Running]:
    from services.embedded import embedded

    async with embedded(config, address, folder) as services:
        yield services.address, services.host.running


@asynccontextmanager
async def _alone(
    service: Service, config: Config, address: str, folder: Path, redis_url: str, name: str
) -> AsyncIterator[Running]:
    """Late imports: a gateway does without torch, a notifier without almost everything."""
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with connected(redis_url) as store:
        match service:
            case Service.GATEWAY:
                from services.gateway import routing

                async with routing(config, store, address) as gateway:
                    yield gateway.address, never
            case Service.INGEST:
                from services.ingest import ingesting

                async with ingesting(config, store, name) as listens:
                    yield listens.address, never
            case Service.WORKER:
                from services.worker import working

                async with working(config, store, name, folder) as (listens, host):
                    yield listens.address, host.running
            case _:
                from services.notifier import notifying

                async with notifying(config.notify, store, name) as listens:
                    yield listens.address, never
