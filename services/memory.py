"""The worker's part of StreamService: what it holds, and how that is doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc

from services.host import EngineHost
from services.ids import checked_stream_id
from services.pages import page
from streamvlm.types import UtcInterval
from streamvlm.wire.erasures import erased_to_proto, erasure_from_proto
from streamvlm.wire.status import stream_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceServicer

_Context = grpc.aio.ServicerContext[object, object]

EraseEvents = Callable[[str, UtcInterval], Awaitable[int]]
"""Forgets what was told of a stream about what was seen then; gives how much that was."""


class MemoryServicer(StreamServiceServicer):
    """Shows streams. Errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost, erase_events: EraseEvents) -> None:
        self._host, self._erase_events = host, erase_events

    async def GetStream(
        self, request: pb.GetStreamRequest, context: _Context
    ) -> pb.GetStreamResponse:
        """One stream's status."""
        status = self._host.engine.get_stream(checked_stream_id(request.stream_id))
        return pb.GetStreamResponse(stream=stream_to_proto(status))

    async def ListStreams(
        self, request: pb.ListStreamsRequest, context: _Context
    ) -> pb.ListStreamsResponse:
        """A page of all streams."""
        streams, next_page_token = page(
            self._host.engine.list_streams(),
            lambda status: status.stream_id,
            request.page_size,
            request.page_token,
        )
        return pb.ListStreamsResponse(
            streams=map(stream_to_proto, streams), next_page_token=next_page_token
        )

    async def EraseStream(
        self, request: pb.EraseStreamRequest, context: _Context
    ) -> pb.EraseStreamResponse:
        """Forget what was seen, then what was told about it: no alert comes behind."""
        stream_id, span = checked_stream_id(request.stream_id), erasure_from_proto(request)
        erased = await asyncio.wrap_future(self._host.engine.erase(stream_id, span))
        num_events = await self._erase_events(stream_id, span)
        return erased_to_proto(replace(erased, num_events=num_events))
