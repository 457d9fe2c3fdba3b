"""Ingest's part of StreamService: sources are opened and closed, and frames are pushed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import grpc

from services import keys
from services.carrier import Carrier, Source
from services.ids import checked_stream_id
from services.registry import Registry, StreamRecord, Worker
from services.relay import Channels
from services.threads import Threads
from streamvlm.capture import PushFeed, SourceAddress, open_feed
from streamvlm.config import CaptureConfig
from streamvlm.errors import (
    CapacityError,
    EngineStoppedError,
    FrameError,
    InvalidInputError,
    StreamExistsError,
    StreamNotFoundError,
    StreamVLMError,
)
from streamvlm.when import zone_named
from streamvlm.wire.frames import PushAck, ack_to_proto, frame_from_proto
from streamvlm.wire.status import feed_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceServicer

logger = logging.getLogger(__name__)

WINDOW_FRAMES = 8
"""Pushed frames on their way: enough to hide a round trip, few enough to be fresh."""

_UnaryContext = grpc.aio.ServicerContext[object, object]
_PushContext = grpc.aio.ServicerContext[pb.PushFramesRequest, pb.PushFramesResponse]


class SourceServicer(StreamServiceServicer):
    """The sources that this ingest reads. Errors go to `FailureMapper`."""

    def __init__(
        self, config: CaptureConfig, registry: Registry, threads: Threads, name: str
    ) -> None:
        self._config, self._registry, self._threads = config, registry, threads
        self._name, self._channels = name, Channels()
        self._carriers: dict[str, Carrier] = {}
        self._changing: set[str] = set()
        """Ids of streams that are being added or removed."""
        self._pushed_to: set[PushFeed] = set()
        self._undoing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop all sources at the same time and let go of them; the streams stay."""
        sources = [carrier.end() for carrier in self._carriers.values()]
        for source in sources:
            if source is not None:
                source.ask_to_stop()
        stops = [self._threads.run("closing", source.stop) for source in sources if source]
        await asyncio.gather(*stops, *self._undoing)
        await self._channels.close()
        with contextlib.suppress(StreamVLMError):
            for stream_id in self._carriers:
                await self._registry.unlease(keys.carrier(stream_id), self._name)

    async def adopt(self) -> None:
        """Read the source of every stream that no other ingest reads; stop what is none any more.

        Raises MetadataError.
        """
        records = await self._registry.streams()
        for stream_id, record in records.items():
            if stream_id in self._carriers or stream_id in self._changing:
                continue
            if await self._registry.lease(keys.carrier(stream_id), self._name):
                self._carriers[stream_id] = carrier = self._carrier(record)
                carrier.begin(must_open=False)
        for stream_id, carrier in list(self._carriers.items()):
            if stream_id in self._changing:
                continue
            if stream_id not in records:
                await self._drop(stream_id, carrier)
            elif not await self._registry.lease(keys.carrier(stream_id), self._name):
                logger.error("stream %s: another ingest reads it now", stream_id)
                await self._drop(stream_id, carrier)

    async def CreateStream(
        self, request: pb.CreateStreamRequest, context: _UnaryContext
    ) -> pb.CreateStreamResponse:
        """Open a source and carry its clips to a worker."""
        stream_id = checked_stream_id(request.stream_id)
        SourceAddress.parse(request.source)
        record = StreamRecord(
            stream_id=stream_id,
            source=request.source,
            created_utc_seconds=time.time(),
            time_zone=zone_named(request.time_zone).key,
        )
        with self._alone(stream_id):
            if stream_id in self._carriers or stream_id in await self._registry.streams():
                raise StreamExistsError(f"stream {stream_id!r} exists already")
            if not await self._registry.lease(keys.carrier(stream_id), self._name):
                raise StreamExistsError(f"another ingest reads stream {stream_id!r}")
            carrier = self._carrier(record)
            try:
                stream = await self._opened(carrier, request.allow_offline)
                await self._registry.add_stream(record)
            except BaseException:
                # Nobody else knows the source. Shielded: when the service stops, this task may be
                # cancelled a second time.
                undoing = asyncio.create_task(self._undo(carrier))
                self._undoing.add(undoing)
                undoing.add_done_callback(self._undoing.discard)
                await asyncio.shield(undoing)
                raise
            self._carriers[stream_id] = carrier
        return pb.CreateStreamResponse(stream=stream)

    async def _opened(self, carrier: Carrier, allow_offline: bool) -> pb.Stream:
        carrier.begin(must_open=True)
        stream = await carrier.opened()
        if not allow_offline:
            wait = partial(carrier.source.wait_until_live, self._config.open_timeout_seconds)
            await self._threads.run("opening", wait)
        stream.feed.CopyFrom(feed_to_proto(carrier.source.status()))
        return stream

    async def _undo(self, carrier: Carrier) -> None:
        stream_id = carrier.record.stream_id
        if source := carrier.end():
            await self._threads.run("closing", source.stop)
        with contextlib.suppress(StreamVLMError):
            await carrier.forget()
            await self._registry.unlease(keys.carrier(stream_id), self._name)

    async def DeleteStream(
        self, request: pb.DeleteStreamRequest, context: _UnaryContext
    ) -> pb.DeleteStreamResponse:
        """Close a source and let its worker forget it."""
        stream_id = checked_stream_id(request.stream_id)
        with self._alone(stream_id):
            was_there = await self._registry.remove_stream(stream_id)
            carrier = self._carriers.get(stream_id)
            if carrier is not None:
                await self._drop(stream_id, carrier)
            elif not was_there:
                raise StreamNotFoundError(f"no stream {stream_id!r}")
        return pb.DeleteStreamResponse()

    async def _drop(self, stream_id: str, carrier: Carrier) -> None:
        del self._carriers[stream_id]
        if source := carrier.end():
            await self._threads.run("closing", source.stop)
        is_removed = stream_id not in await self._registry.streams()
        try:
            if is_removed:
                await carrier.forget()
        except StreamVLMError as error:
            # The worker finds out by itself that the stream is none any more.
            logger.warning("stream %s: %s", stream_id, error)
        await self._registry.unlease(keys.carrier(stream_id), self._name)

    @contextmanager
    def _alone(self, stream_id: str) -> Iterator[None]:
        """Streams are added and removed one call at a time. Raises StreamExistsError."""
        if stream_id in self._changing:
            raise StreamExistsError(f"stream {stream_id!r} is being opened or removed")
        self._changing.add(stream_id)
        try:
            yield
        finally:
            self._changing.remove(stream_id)

    def _carrier(self, record: StreamRecord) -> Carrier:
        return Carrier(record, partial(self._source, record), self._registry, self._channels)

    def _source(self, record: StreamRecord, worker: Worker) -> Source:
        return open_feed(
            record.stream_id,
            record.source,
            fps=self._config.fps,
            rule=worker.rule,
            queue_clips=self._config.queue_clips,
            open_timeout_seconds=self._config.open_timeout_seconds,
            read_timeout_seconds=self._config.read_timeout_seconds,
        )

    async def PushFrames(
        self, requests: AsyncIterator[pb.PushFramesRequest], context: _PushContext
    ) -> None:
        """Feed frames to a push stream, each with one acknowledgement."""
        feed = self._push_feed(await anext(requests, pb.PushFramesRequest()))
        with self._alone_with(feed):
            opened = pb.PushFramesOpened(window_frames=WINDOW_FRAMES)
            await context.write(pb.PushFramesResponse(opened=opened))
            frames_refused = 0
            async for request in requests:
                push = partial(_push, feed, request)
                is_sampled, error = await self._threads.run("pushing", push)
                frames_refused += error is not None
                ack = PushAck(
                    sequence=request.frame.sequence,
                    is_sampled=is_sampled,
                    frames_refused=frames_refused,
                    clips_dropped=feed.status().clips_dropped,
                    error=error,
                )
                await context.write(pb.PushFramesResponse(ack=ack_to_proto(ack)))

    @contextmanager
    def _alone_with(self, feed: PushFeed) -> Iterator[None]:
        """Frames of two callers in turn would be no video."""
        if feed in self._pushed_to:
            raise CapacityError("another call pushes frames to this stream")
        self._pushed_to.add(feed)
        try:
            yield
        finally:
            self._pushed_to.remove(feed)

    def _push_feed(self, first: pb.PushFramesRequest) -> PushFeed:
        if not first.HasField("open"):
            raise InvalidInputError("the first message of PushFrames must be `open`")
        stream_id = checked_stream_id(first.open.stream_id)
        carrier = self._carriers.get(stream_id)
        if carrier is None:
            if stream_id in self._changing:
                raise EngineStoppedError(f"stream {stream_id!r} is being opened or removed")
            raise StreamNotFoundError(f"no stream {stream_id!r}")
        if not isinstance(carrier.source, PushFeed):
            raise InvalidInputError(
                f"stream {stream_id!r} has a source of its own; frames can be pushed to streams "
                "with the source 'push:'"
            )
        return carrier.source


def _push(feed: PushFeed, request: pb.PushFramesRequest) -> tuple[bool, FrameError | None]:
    """Whether the frame was sampled, and what is wrong with it; other errors end the call."""
    try:
        if not request.HasField("frame"):
            raise FrameError("only the first message of PushFrames can be `open`")
        frame = frame_from_proto(request.frame)
        is_sampled = feed.push(
            frame.image,
            frame.encoding,
            height=frame.height,
            width=frame.width,
            utc_seconds=frame.utc_seconds,
        )
    except FrameError as error:
        return False, error
    return is_sampled, None
