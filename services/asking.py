"""The gateway's QueryService: a question goes to the worker that holds the stream."""

from __future__ import annotations

import grpc

from services.ids import checked_stream_id
from services.relay import Channels, relayed
from services.routes import Routes
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceServicer, QueryServiceStub

_Context = grpc.aio.ServicerContext[pb.AskRequest, pb.AskResponse]


class AskingServicer(QueryServiceServicer):
    """Checks and routes. Errors go to `FailureMapper`."""

    def __init__(self, routes: Routes, channels: Channels) -> None:
        self._routes, self._channels = routes, channels

    async def Ask(self, request: pb.AskRequest, context: _Context) -> None:
        """Pass on the events of an answer as they come; the caller's end is the answer's end."""
        address = await self._routes.worker_of(checked_stream_id(request.stream_id))
        stub = QueryServiceStub(self._channels.to(address))
        with relayed("the worker"):
            # Without a limit of the caller the worker has one of its own.
            call = stub.Ask(request, timeout=context.time_remaining())
            try:
                async for response in call:
                    await context.write(response)
            finally:
                call.cancel()
