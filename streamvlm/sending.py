"""Frames on their way to the service, no more at a time than it has room for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator

from streamvlm.errors import FrameError
from streamvlm.wire.frames import PushedFrame, frame_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb

MAX_MESSAGE_BYTES = 16 * 2**20


class Sending:
    """One call's frames on their way; shared by the thread that sends and the one that receives."""

    def __init__(self, stream_id: str, frames: Iterable[PushedFrame]) -> None:
        self.failure: Exception | None = None
        """What the producer of the frames raised."""
        self._opening, self._frames = _opening(stream_id), iter(frames)
        self._has_changed = threading.Condition()
        self._allowed = 0
        self._is_closed = False

    def allow(self, num_frames: int) -> None:
        """The service has room for this many more."""
        with self._has_changed:
            self._allowed += num_frames
            self._has_changed.notify_all()

    def close(self) -> None:
        """The call is over: nothing more is sent."""
        with self._has_changed:
            self._is_closed = True
            self._has_changed.notify_all()

    def requests(self) -> Iterator[pb.PushFramesRequest]:
        """The messages of the call, each when there is room for it."""
        yield self._opening
        while self._wait_for_room() and (request := self._next()):
            yield request

    def _wait_for_room(self) -> bool:
        with self._has_changed:
            self._has_changed.wait_for(lambda: self._allowed or self._is_closed)
            self._allowed -= 1
            return not self._is_closed

    def _next(self) -> pb.PushFramesRequest | None:
        try:
            frame = next(self._frames, None)
            return _request(frame) if frame is not None else None
        except Exception as error:
            # On the thread of gRPC, which would tell the caller nothing but "exception iterating".
            self.failure = error
            return None


class AsyncSending:
    """The same inside one event loop."""

    def __init__(self, stream_id: str, frames: AsyncIterable[PushedFrame]) -> None:
        self.failure: Exception | None = None
        """What the producer of the frames raised."""
        self._opening, self._frames = _opening(stream_id), aiter(frames)
        self._room = asyncio.Semaphore(0)
        self._taking: asyncio.Future[PushedFrame | None] | None = None
        self._is_closed = False

    def allow(self, num_frames: int) -> None:
        """The service has room for this many more."""
        for _ in range(num_frames):
            self._room.release()

    async def close(self) -> None:
        """The call is over: nothing more is sent, and the producer is ended."""
        self._is_closed = True
        self._room.release()
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
        if isinstance(self._frames, AsyncGenerator):
            await self._frames.aclose()

    async def requests(self) -> AsyncIterator[pb.PushFramesRequest]:
        """The messages of the call, each when there is room for it."""
        yield self._opening
        while await self._room.acquire() and (request := await self._next()):
            yield request

    async def _next(self) -> pb.PushFramesRequest | None:
        if self._is_closed:
            return None
        try:
            self._taking = asyncio.ensure_future(anext(self._frames, None))
            frame = await self._taking
            return _request(frame) if frame is not None else None
        except asyncio.CancelledError:
            if self._is_closed:
                return None
            raise
        except Exception as error:
            # In a task of gRPC, which would tell the caller nothing but "exception iterating".
            self.failure = error
            return None


def _opening(stream_id: str) -> pb.PushFramesRequest:
    return pb.PushFramesRequest(open=pb.PushFramesOpen(stream_id=stream_id))


def _request(frame: PushedFrame) -> pb.PushFramesRequest:
    request = pb.PushFramesRequest(frame=frame_to_proto(frame))
    if request.ByteSize() > MAX_MESSAGE_BYTES:
        raise FrameError(
            f"a frame of {len(frame.image)} bytes; at most 16 MiB can be pushed at once"
        )
    return request
