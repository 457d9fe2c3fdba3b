"""Which process a call is for: the worker that holds a stream, or the ingest that reads it.

What was known when Redis went away is still tried.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from hashlib import sha256

from services.registry import Registry
from streamvlm.errors import EngineStoppedError, MetadataError, StreamNotFoundError

_MOST_KNOWN = 4096
AWAY_SECONDS = 5.0
"""How long a Redis that did not answer is not asked where a stream is, if that was known."""


class Routes:
    """Addresses, by stream."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: OrderedDict[str, str] = OrderedDict()
        self._ingests: dict[str, str] = {}
        self._workers: list[str] = []
        self._away_until = float("-inf")

    async def worker_of(self, stream_id: str) -> str:
        """Where the stream's memory is.

        Raises StreamNotFoundError, EngineStoppedError while no worker holds it, MetadataError.
        """
        known = self._known.get(stream_id)
        if known is not None and time.monotonic() < self._away_until:
            return known
        try:
            owner = await self._registry.owner(stream_id)
        except MetadataError:
            self._away_until = time.monotonic() + AWAY_SECONDS
            if known is None:
                raise
            return known
        if owner is None:
            self._known.pop(stream_id, None)
            if stream_id not in await self._registry.streams():
                raise StreamNotFoundError(f"no stream {stream_id!r}")
            raise EngineStoppedError(f"no worker holds stream {stream_id!r} now; try again soon")
        self._known[stream_id] = owner.address
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return owner.address

    async def is_known(self, stream_id: str) -> bool:
        """Whether the stream is to be watched, whether a worker has it or not. Raises
        MetadataError.
        """
        return stream_id in await self._registry.streams()

    async def streams(self) -> list[str]:
        """Those that are to be watched. Raises MetadataError."""
        return sorted(await self._registry.streams())

    async def ingest_of(self, stream_id: str) -> str:
        """Where the stream's source is read, or is to be read.

        Raises EngineStoppedError where there is no ingest, MetadataError.
        """
        try:
            self._ingests = await self._registry.ingests()
            carrier = await self._registry.carrier(stream_id)
        except MetadataError:
            if not self._ingests:
                raise
            carrier = None
        if not self._ingests:
            raise EngineStoppedError("no ingest is ready; try again soon")
        if carrier in self._ingests:
            return self._ingests[carrier]
        # All gateways agree without asking each other.
        chosen = max(
            self._ingests, key=lambda name: sha256(f"{name}/{stream_id}".encode()).digest()
        )
        return self._ingests[chosen]

    async def workers(self) -> list[str]:
        """Where all workers are. Raises MetadataError where that was never known."""
        try:
            self._workers = [each.address for each in (await self._registry.workers()).values()]
        except MetadataError:
            if not self._workers:
                raise
        return self._workers
