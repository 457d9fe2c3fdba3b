"""Everything in one process: the same modules as in a deployment, and a Redis of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.gateway import Gateway, routing
from services.host import EngineHost
from services.ingest import ingesting
from services.notifier import notifying
from services.redis_server import redis_server
from services.server import GRACE_SECONDS
from services.store import connected
from services.worker import working
from streamvlm.config import Config

NAME = "embedded"


@dataclass(frozen=True, slots=True)
class Embedded:
    """All services while they run."""

    gateway: Gateway
    host: EngineHost

    @property
    def address(self) -> str:
        """Where the gateway listens, with the real port."""
        return self.gateway.address


@asynccontextmanager
async def embedded(
    config: Config, address: str, folder: Path, *, grace_seconds: float = GRACE_SECONDS
) -> AsyncIterator[Embedded]:
    """All services, ready for calls; what is to outlive them is kept in `folder`.

    The gateway listens first: whoever asks while the model is being loaded is told so. It ends
    first too, while the others can still finish what it began.
    """
    async with AsyncExitStack() as others, AsyncExitStack() as first_to_end:
        url = await others.enter_async_context(redis_server(folder))
        store = await others.enter_async_context(connected(url))
        gateway = await first_to_end.enter_async_context(
            routing(config, store, address, grace_seconds=grace_seconds)
        )
        _, host = await others.enter_async_context(
            working(config, store, NAME, folder, grace_seconds=grace_seconds)
        )
        await others.enter_async_context(
            ingesting(config, store, NAME, grace_seconds=grace_seconds)
        )
        await others.enter_async_context(notifying(config.notify, store, NAME))
        await gateway.ready.wait()
        yield Embedded(gateway, host)
