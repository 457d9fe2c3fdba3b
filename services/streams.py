"""StreamService: streams come and go, and frames are pushed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

import grpc

from services.host import EngineHost
from services.ids import checked_stream_id
from services.pages import page
from services.requests import RequestMemory
from services.threads import Threads
from streamvlm.capture import Feed, PushFeed, SourceAddress, open_feed
from streamvlm.errors import CapacityError, FrameError, InvalidInputError
from streamvlm.wire.frames import PushAck, ack_to_proto, frame_from_proto
from streamvlm.wire.status import stream_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceServicer

WINDOW_FRAMES = 8
"""Pushed frames on their way: enough to hide a round trip, few enough to be fresh."""

_UnaryContext = grpc.aio.ServicerContext[object, object]
_PushContext = grpc.aio.ServicerContext[pb.PushFramesRequest, pb.PushFramesResponse]


class StreamServicer(StreamServiceServicer):
    """Translates and routes. What blocks goes to other threads, errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost, threads: Threads) -> None:
        self._host, self._threads = host, threads
        self._created: RequestMemory[pb.CreateStreamResponse] = RequestMemory()
        self._deleted: RequestMemory[pb.DeleteStreamResponse] = RequestMemory()
        self._pushed_to: set[PushFeed] = set()

    async def close(self) -> None:
        """End the work that goes on without its callers."""
        await asyncio.gather(self._created.close(), self._deleted.close())

    async def CreateStream(
        self, request: pb.CreateStreamRequest, context: _UnaryContext
    ) -> pb.CreateStreamResponse:
        """Open a source and watch it; a repeated request gets the first result."""
        checked_stream_id(request.stream_id)
        return await self._created.once(request.request_id, request, lambda: self._create(request))

    async def _create(self, request: pb.CreateStreamRequest) -> pb.CreateStreamResponse:
        source, engine = SourceAddress.parse(request.source), self._host.engine
        with engine.reserve(request.stream_id) as add:
            feed = self._make_feed(request)
            try:
                feed.start(engine.wake)
                if not request.allow_offline:
                    limit_seconds = self._host.config.capture.open_timeout_seconds
                    wait = partial(feed.wait_until_live, limit_seconds)
                    await self._threads.run("opening", wait)
                status = add(str(source), feed)
            except BaseException:
                # Nobody else knows the feed. Handed over at once and shielded: when the service
                # stops, this task may be cancelled a second time.
                await asyncio.shield(self._threads.run("closing", feed.stop))
                raise
        return pb.CreateStreamResponse(stream=stream_to_proto(status))

    def _make_feed(self, request: pb.CreateStreamRequest) -> Feed | PushFeed:
        capture = self._host.config.capture
        return open_feed(
            request.stream_id,
            request.source,
            fps=capture.fps,
            rule=self._host.engine.vlm.patch_spec.rule,
            queue_clips=capture.queue_clips,
            open_timeout_seconds=capture.open_timeout_seconds,
            read_timeout_seconds=capture.read_timeout_seconds,
        )

    async def GetStream(
        self, request: pb.GetStreamRequest, context: _UnaryContext
    ) -> pb.GetStreamResponse:
        """One stream's status."""
        status = self._host.engine.get_stream(checked_stream_id(request.stream_id))
        return pb.GetStreamResponse(stream=stream_to_proto(status))

    async def ListStreams(
        self, request: pb.ListStreamsRequest, context: _UnaryContext
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

    async def DeleteStream(
        self, request: pb.DeleteStreamRequest, context: _UnaryContext
    ) -> pb.DeleteStreamResponse:
        """Forget a stream; a repeated request gets the first result."""
        checked_stream_id(request.stream_id)
        return await self._deleted.once(request.request_id, request, lambda: self._delete(request))

    async def _delete(self, request: pb.DeleteStreamRequest) -> pb.DeleteStreamResponse:
        remove = partial(self._host.engine.remove_stream, request.stream_id)
        await self._threads.run("closing", remove)
        return pb.DeleteStreamResponse()

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
        feed = self._host.engine.get_feed(checked_stream_id(first.open.stream_id))
        if not isinstance(feed, PushFeed):
            raise InvalidInputError(
                f"stream {first.open.stream_id!r} has a source of its own; frames can be pushed to "
                "streams with the source 'push:'"
            )
        return feed


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
