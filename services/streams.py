"""StreamService: streams come and go, and frames are pushed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import grpc

from services.host import EngineHost
from services.requests import RequestMemory
from streamvlm.capture import Feed, PushFeed, SourceAddress, open_feed
from streamvlm.errors import FrameError, InvalidInputError
from streamvlm.wire.frames import PushAck, ack_to_proto, frame_from_proto
from streamvlm.wire.status import stream_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceServicer

STREAM_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
WINDOW_FRAMES = 8
"""Pushed frames on their way: enough to hide a round trip, few enough to be fresh."""
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000

_UnaryContext = grpc.aio.ServicerContext[object, object]
_PushContext = grpc.aio.ServicerContext[pb.PushFramesRequest, pb.PushFramesResponse]


class StreamServicer(StreamServiceServicer):
    """Translates and routes. What blocks goes to other threads, errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host
        self._created: RequestMemory[pb.CreateStreamResponse] = RequestMemory()

    async def CreateStream(
        self, request: pb.CreateStreamRequest, context: _UnaryContext
    ) -> pb.CreateStreamResponse:
        """Open a source and watch it; a repeated request gets the first result."""
        return await self._created.once(request.request_id, request, lambda: self._create(request))

    async def _create(self, request: pb.CreateStreamRequest) -> pb.CreateStreamResponse:
        stream_id, engine = request.stream_id, self._host.engine
        if not STREAM_ID.fullmatch(stream_id):
            raise InvalidInputError(
                f"{stream_id!r} cannot be a stream id; allowed: {STREAM_ID.pattern}"
            )
        source = SourceAddress.parse(request.source)
        engine.check_room_for(stream_id)
        feed = self._open(request)
        try:
            await asyncio.to_thread(feed.start, engine.wake)
            if not request.allow_offline:
                limit_seconds = self._host.config.capture.open_timeout_seconds
                await asyncio.to_thread(feed.wait_until_live, limit_seconds)
            status = engine.add_stream(stream_id, str(source), feed)
        except BaseException:
            # Nobody else knows the feed. Handed over at once and shielded: when the service stops,
            # this task may be cancelled a second time.
            stopping = asyncio.get_running_loop().run_in_executor(None, feed.stop)
            await asyncio.shield(stopping)
            raise
        return pb.CreateStreamResponse(stream=stream_to_proto(status))

    def _open(self, request: pb.CreateStreamRequest) -> Feed | PushFeed:
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
        status = self._host.engine.get_stream(request.stream_id)
        return pb.GetStreamResponse(stream=stream_to_proto(status))

    async def ListStreams(
        self, request: pb.ListStreamsRequest, context: _UnaryContext
    ) -> pb.ListStreamsResponse:
        """A page of all streams; its token is the last id of the page before."""
        if request.page_size < 0:
            raise InvalidInputError(f"page_size = {request.page_size}; allowed: 0 and above")
        most = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        statuses = [
            status
            for status in self._host.engine.list_streams()
            if status.stream_id > request.page_token
        ]
        page = statuses[:most]
        return pb.ListStreamsResponse(
            streams=map(stream_to_proto, page),
            next_page_token=page[-1].stream_id if len(statuses) > most else "",
        )

    async def DeleteStream(
        self, request: pb.DeleteStreamRequest, context: _UnaryContext
    ) -> pb.DeleteStreamResponse:
        """Forget a stream."""
        await asyncio.to_thread(self._host.engine.remove_stream, request.stream_id)
        return pb.DeleteStreamResponse()

    async def PushFrames(
        self, requests: AsyncIterator[pb.PushFramesRequest], context: _PushContext
    ) -> None:
        """Feed frames to a push stream, each with one acknowledgement."""
        feed = self._push_feed(await anext(requests, pb.PushFramesRequest()))
        opened = pb.PushFramesOpened(window_frames=WINDOW_FRAMES)
        await context.write(pb.PushFramesResponse(opened=opened))
        frames_refused = 0
        async for request in requests:
            is_sampled, error = await asyncio.to_thread(_push, feed, request)
            frames_refused += error is not None
            ack = PushAck(
                last_sequence=request.frame.sequence,
                is_sampled=is_sampled,
                frames_refused=frames_refused,
                clips_dropped=feed.status().clips_dropped,
                error=error,
            )
            await context.write(pb.PushFramesResponse(ack=ack_to_proto(ack)))

    def _push_feed(self, first: pb.PushFramesRequest) -> PushFeed:
        if not first.HasField("open"):
            raise InvalidInputError("the first message of PushFrames must be `open`")
        feed = self._host.engine.get_feed(first.open.stream_id)
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
