"""The gateway's StreamService: each call goes to the process that knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from services.ids import checked_stream_id
from services.pages import page
from services.registry import Registry, StreamRecord
from services.relay import Channels, relayed
from services.requests import RequestMemory
from services.routes import Routes
from streamvlm.capture import SourceAddress
from streamvlm.errors import (
    EngineStoppedError,
    InvalidInputError,
    MetadataError,
    StreamNotFoundError,
    StreamVLMError,
)
from streamvlm.when import zone_named
from streamvlm.wire.erasures import erasure_from_proto
from streamvlm.wire.times import timestamp_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceServicer, StreamServiceStub

LIST_SECONDS = 3.0
"""What a worker has to tell of its streams; those of one that does not are shown without."""

_UnaryContext = grpc.aio.ServicerContext[object, object]
_PushContext = grpc.aio.ServicerContext[pb.PushFramesRequest, pb.PushFramesResponse]


class StreamServicer(StreamServiceServicer):
    """Checks and routes. Errors go to `FailureMapper`."""

    def __init__(
        self,
        registry: Registry,
        routes: Routes,
        channels: Channels,
        created: RequestMemory[pb.CreateStreamResponse],
        deleted: RequestMemory[pb.DeleteStreamResponse],
    ) -> None:
        self._registry, self._routes, self._channels = registry, routes, channels
        self._created, self._deleted = created, deleted

    async def CreateStream(
        self, request: pb.CreateStreamRequest, context: _UnaryContext
    ) -> pb.CreateStreamResponse:
        """Open a source and watch it; a repeated request gets the first result."""
        checked_stream_id(request.stream_id)
        SourceAddress.parse(request.source)
        zone_named(request.time_zone)
        return await self._created.once(request.request_id, request, lambda: self._create(request))

    async def _create(self, request: pb.CreateStreamRequest) -> pb.CreateStreamResponse:
        stub = StreamServiceStub(self._channels.to(await self._routes.ingest_of(request.stream_id)))
        with relayed("ingest"):
            response: pb.CreateStreamResponse = await stub.CreateStream(request)
        return response

    async def GetStream(
        self, request: pb.GetStreamRequest, context: _UnaryContext
    ) -> pb.GetStreamResponse:
        """One stream's status."""
        stream_id = checked_stream_id(request.stream_id)
        try:
            stub = StreamServiceStub(self._channels.to(await self._routes.worker_of(stream_id)))
            with relayed("the worker"):
                response: pb.GetStreamResponse = await stub.GetStream(
                    request, timeout=context.time_remaining()
                )
            return response
        except (EngineStoppedError, StreamNotFoundError):
            record = (await self._registry.streams()).get(stream_id)
            if record is None:
                raise
            return pb.GetStreamResponse(stream=_unheld(record))

    async def ListStreams(
        self, request: pb.ListStreamsRequest, context: _UnaryContext
    ) -> pb.ListStreamsResponse:
        """A page of all streams, also of those that no worker holds now."""
        found = await self._held()
        try:
            records = await self._registry.streams()
        except MetadataError:
            records = {}
        if not records and not await self._routes.workers():
            raise EngineStoppedError("no worker is ready: the model may be being loaded")
        for stream_id, record in records.items():
            found.setdefault(stream_id, _unheld(record))
        streams, next_page_token = page(
            [found[stream_id] for stream_id in sorted(found)],
            lambda stream: stream.stream_id,
            request.page_size,
            request.page_token,
        )
        return pb.ListStreamsResponse(streams=streams, next_page_token=next_page_token)

    async def _held(self) -> dict[str, pb.Stream]:
        """The streams of all workers that answer."""
        addresses = await self._routes.workers()
        told = await asyncio.gather(*map(self._streams_of, addresses))
        return {stream.stream_id: stream for streams in told for stream in streams}

    async def _streams_of(self, address: str) -> list[pb.Stream]:
        stub, streams = StreamServiceStub(self._channels.to(address)), list[pb.Stream]()
        request = pb.ListStreamsRequest(page_size=1000)
        try:
            while True:
                with relayed("the worker"):
                    response = await stub.ListStreams(request, timeout=LIST_SECONDS)
                streams += response.streams
                request.page_token = response.next_page_token
                if not request.page_token:
                    return streams
        except StreamVLMError:
            return streams

    async def DeleteStream(
        self, request: pb.DeleteStreamRequest, context: _UnaryContext
    ) -> pb.DeleteStreamResponse:
        """Forget a stream; a repeated request gets the first result."""
        checked_stream_id(request.stream_id)
        return await self._deleted.once(request.request_id, request, lambda: self._delete(request))

    async def _delete(self, request: pb.DeleteStreamRequest) -> pb.DeleteStreamResponse:
        stub = StreamServiceStub(self._channels.to(await self._routes.ingest_of(request.stream_id)))
        with relayed("ingest"):
            response: pb.DeleteStreamResponse = await stub.DeleteStream(request)
        return response

    async def EraseStream(
        self, request: pb.EraseStreamRequest, context: _UnaryContext
    ) -> pb.EraseStreamResponse:
        """Have the worker that holds the stream forget some of it."""
        stream_id = checked_stream_id(request.stream_id)
        erasure_from_proto(request)
        stub = StreamServiceStub(self._channels.to(await self._routes.worker_of(stream_id)))
        with relayed("the worker"):
            response: pb.EraseStreamResponse = await stub.EraseStream(
                request, timeout=context.time_remaining()
            )
        return response

    async def PushFrames(
        self, requests: AsyncIterator[pb.PushFramesRequest], context: _PushContext
    ) -> None:
        """Pass frames on to the ingest that has the stream, and its acknowledgements back."""
        first = await anext(requests, pb.PushFramesRequest())
        if not first.HasField("open"):
            raise InvalidInputError("the first message of PushFrames must be `open`")
        stream_id = checked_stream_id(first.open.stream_id)
        stub = StreamServiceStub(self._channels.to(await self._routes.ingest_of(stream_id)))

        async def passed_on() -> AsyncIterator[pb.PushFramesRequest]:
            yield first
            async for request in requests:
                yield request

        with relayed("ingest"):
            call = stub.PushFrames(passed_on())
            try:
                async for response in call:
                    await context.write(response)
            finally:
                call.cancel()


def _unheld(record: StreamRecord) -> pb.Stream:
    """What can be told of a stream that no worker tells of."""
    return pb.Stream(
        stream_id=record.stream_id,
        source=str(SourceAddress.parse(record.source)),
        create_time=timestamp_to_proto(record.created_utc_seconds),
        time_zone=record.time_zone,
        feed=pb.FeedStatus(
            state=pb.SOURCE_STATE_RECONNECTING,
            reason="WORKER_LOST",
            message="no worker holds the stream now, or one is taking it over",
        ),
    )
