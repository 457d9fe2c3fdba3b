"""The gateway's QueryService: a question goes to the worker that holds the stream."""

from __future__ import annotations

import grpc

from services.ids import checked_stream_id
from services.relay import Channels, relayed
from services.routes import Routes
from streamvlm.errors import EngineStoppedError, StreamNotFoundError
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceServicer, QueryServiceStub

_Context = grpc.aio.ServicerContext[pb.AskRequest, pb.AskResponse]


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
