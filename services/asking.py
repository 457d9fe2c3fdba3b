"""The gateway's QueryService: a question goes to the worker that holds the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc

from services.ids import checked_stream_id
from services.relay import Channels, relayed
from services.routes import Routes
from streamvlm.errors import (
    DeadlineExceededError,
    EngineStoppedError,
    MetadataError,
    StreamNotFoundError,
)
from streamvlm.types import Found
from streamvlm.wire.searches import found_from_proto, found_to_proto, search_from_proto
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceServicer, QueryServiceStub

_Context = grpc.aio.ServicerContext[pb.AskRequest, pb.AskResponse]
_SearchContext = grpc.aio.ServicerContext[pb.SearchRequest, pb.SearchResponse]


SEARCH_SECONDS = 10.0
"""What a worker has to search its streams; those of one that does not are left out."""


class AskingServicer(QueryServiceServicer):
    """Checks and routes. Errors go to `FailureMapper`."""

    def __init__(self, routes: Routes, channels: Channels) -> None:
        self._routes, self._channels = routes, channels

    async def Ask(self, request: pb.AskRequest, context: _Context) -> None:
        """Pass on the events of an answer as they come; the caller's end is the answer's end."""
        stream_id = checked_stream_id(request.stream_id)
        address = await self._routes.worker_of(stream_id)
        try:
            await self._pass_on(request, address, context)
        except StreamNotFoundError:
            if not await self._routes.is_known(stream_id):
                raise
            raise EngineStoppedError(
                f"a worker is taking over stream {stream_id!r}; try again soon"
            ) from None

    async def _pass_on(self, request: pb.AskRequest, address: str, context: _Context) -> None:
        stub = QueryServiceStub(self._channels.to(address))
        with relayed("the worker"):
            # Without a limit of the caller the worker has one of its own.
            call = stub.Ask(request, timeout=context.time_remaining())
            try:
                async for response in call:
                    await context.write(response)
            finally:
                call.cancel()

    async def Search(self, request: pb.SearchRequest, context: _SearchContext) -> pb.SearchResponse:
        """The best moments of the streams of all workers, or of those that hold the ones named."""
        search = search_from_proto(request)
        by_address = await self._places(search.stream_ids)
        remaining = context.time_remaining()
        # Less than the caller has: what the other workers found is to come in time.
        limit = SEARCH_SECONDS if remaining is None else min(SEARCH_SECONDS, 0.9 * remaining)
        told = await asyncio.gather(
            *(self._search(request, *place, limit) for place in by_address.items())
        )
        found = Found()
        for each in told:
            found = found.joined(each, search.most)
        wanted = search.stream_ids or await self._known_streams()
        missing = sorted(set(wanted) - set(found.searched))
        if len(search.stream_ids) == len(missing) == 1:
            raise EngineStoppedError(
                f"no worker tells of stream {missing[0]!r} now; try again soon"
            )
        return found_to_proto(found.joined(Found(unsearched=tuple(missing)), search.most))

    async def _places(self, stream_ids: Iterable[str]) -> dict[str, list[str]]:
        """Which streams are to be searched where; all that a worker has where none is named.

        Raises StreamNotFoundError, EngineStoppedError, MetadataError.
        """
        places: dict[str, list[str]] = {}
        for stream_id in stream_ids:
            try:
                address = await self._routes.worker_of(checked_stream_id(stream_id))
            except EngineStoppedError:
                continue  # nobody holds it now
            places.setdefault(address, []).append(stream_id)
        if stream_ids:
            return places
        addresses = await self._routes.workers()
        if not addresses:
            raise EngineStoppedError("no worker is ready: the model may be being loaded")
        return {address: [] for address in addresses}

    async def _search(
        self, request: pb.SearchRequest, address: str, stream_ids: list[str], limit: float
    ) -> Found:
        """What one worker found; nothing where it cannot tell now."""
        asked = pb.SearchRequest()
        asked.CopyFrom(request)
        asked.stream_ids[:] = stream_ids
        try:
            with relayed("the worker"):
                stub = QueryServiceStub(self._channels.to(address))
                return found_from_proto(await stub.Search(asked, timeout=limit))
        except (EngineStoppedError, DeadlineExceededError, StreamNotFoundError):
            return Found()

    async def _known_streams(self) -> list[str]:
        try:
            return await self._routes.streams()
        except MetadataError:
            return []
