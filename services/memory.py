"""The worker's part of StreamService: what it holds, and how that is doing."""

from __future__ import annotations

import grpc

from services.host import EngineHost
from services.ids import checked_stream_id
from services.pages import page
from streamvlm.wire.status import stream_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceServicer

_Context = grpc.aio.ServicerContext[object, object]


class MemoryServicer(StreamServiceServicer):
    """Shows streams. Errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

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
