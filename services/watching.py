"""WorkerService: ingest brings the clips of its streams, the engine takes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import grpc

from services.carried import CarriedFeed
from services.host import EngineHost
from services.ids import checked_stream_id
from services.registry import Registry
from services.threads import Threads
from streamvlm.errors import (
    InvalidInputError,
    MetadataError,
    StreamExistsError,
    StreamNotFoundError,
)
from streamvlm.wire.clips import clip_from_proto
from streamvlm.wire.status import feed_from_proto, stream_to_proto
from streamvlm.wire.times import gap_from_proto, timestamp_from_proto
from streamvlm.wire.v1 import worker_service_pb2 as pb
from streamvlm.wire.v1.worker_service_pb2_grpc import WorkerServiceServicer

logger = logging.getLogger(__name__)

MAX_EPOCHS = 10_000
"""Streams that a worker remembers the epochs of after it let go of them."""

_WatchContext = grpc.aio.ServicerContext[pb.WatchStreamRequest, pb.WatchStreamResponse]
_UnaryContext = grpc.aio.ServicerContext[object, object]


@dataclass(slots=True, kw_only=True, eq=False)
class _Carried:
    """A stream that this worker holds."""

    feed: CarriedFeed
    epoch: int
    call: asyncio.Task[None] | None = None
    """That brings its clips now."""


class Watcher(Protocol):
    """What a worker does about the streams that it holds."""

    async def learn_rules(self) -> None:
        """Return when the rules of now are watched for. Raises MetadataError."""
        ...

    async def take_over(self, stream_id: str) -> None:
        """Go on with what is open about a stream; before its first clip. Raises MetadataError."""
        ...

    async def let_go(self, stream_id: str, *, is_removed: bool) -> None:
        """Another worker has the stream now, or it is removed. Raises MetadataError."""
        ...


class WatchingServicer(WorkerServiceServicer):
    """Holds streams and takes in their clips. Errors go to `FailureMapper`."""

    def __init__(
        self,
        host: EngineHost,
        registry: Registry,
        threads: Threads,
        name: str,
        watcher: Watcher,
    ) -> None:
        self._host, self._registry, self._threads = host, registry, threads
        self._name, self._watcher = name, watcher
        self.address = ""
        """Where this worker is reached; known when it listens."""
        self._carried: dict[str, _Carried] = {}
        self._epochs: OrderedDict[str, int] = OrderedDict()
        self._holding = asyncio.Lock()

    def idle(self) -> list[str]:
        """Streams that no ingest brings now."""
        return [each for each, carried in self._carried.items() if carried.call is None]

    def holds(self, stream_id: str) -> bool:
        """Whether this worker holds the stream."""
        return stream_id in self._carried

    def epoch(self, stream_id: str) -> int:
        """Since when this worker holds or held the stream, by which Redis knows whether another one
        came after it; 0 where it never did, or long ago.
        """
        carried = self._carried.get(stream_id)
        return carried.epoch if carried else self._epochs.get(stream_id, 0)

    async def WatchStream(
        self, requests: AsyncIterator[pb.WatchStreamRequest], context: _WatchContext
    ) -> None:
        """Take in a stream's clips until ingest ends the call, or another call takes over."""
        first = await anext(requests, pb.WatchStreamRequest())
        if first.WhichOneof("message") != "open":
            raise InvalidInputError("the first message of WatchStream must be `open`")
        carried = await self._hold(first.open)
        if carried.call is not None:
            carried.call.cancel()  # of an ingest that is gone, which the network did not tell
        task = carried.call = asyncio.current_task()
        loop, has_taken = asyncio.get_running_loop(), asyncio.Event()

        def on_taken() -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended before the engine
                loop.call_soon_threadsafe(has_taken.set)

        carried.feed.link(first.open.run_id, on_taken)
        telling = asyncio.create_task(_tell_taken(carried.feed, has_taken, context))
        try:
            status = self._host.engine.get_stream(first.open.stream_id)
            opened = pb.WatchStreamOpened(
                window=carried.feed.window, stream=stream_to_proto(status)
            )
            await context.write(pb.WatchStreamResponse(opened=opened))
            self._note(carried.feed, first)
            async for request in requests:
                self._put(carried.feed, first.open.stream_id, request)
        except asyncio.CancelledError:
            if carried.call is not task and (current := asyncio.current_task()):
                current.uncancel()
                raise StreamExistsError("another call brings the stream's clips now") from None
            raise
        finally:
            telling.cancel()
            if carried.call is task:
                carried.call = None
                carried.feed.unlink()

    async def ForgetStream(
        self, request: pb.ForgetStreamRequest, context: _UnaryContext
    ) -> pb.ForgetStreamResponse:
        """Forget a stream and let go of it."""
        await self.drop(checked_stream_id(request.stream_id), is_removed=True)
        return pb.ForgetStreamResponse()

    async def LearnRules(
        self, request: pb.LearnRulesRequest, context: _UnaryContext
    ) -> pb.LearnRulesResponse:
        """Return when the rules of now are watched for."""
        await self._watcher.learn_rules()
        return pb.LearnRulesResponse()

    async def drop(self, stream_id: str, *, is_removed: bool) -> None:
        """Forget a stream, and let go of it where it was held; one that is removed for ever."""
        async with self._holding:
            if (carried := self._carried.pop(stream_id, None)) is not None:
                self._note_epoch(stream_id, carried.epoch)
                await self._let_go(stream_id, carried, is_removed)
            if is_removed:
                erase = partial(self._host.engine.snapshots.erase, stream_id)
                await self._threads.run("closing", erase)

    async def _let_go(self, stream_id: str, carried: _Carried, is_removed: bool) -> None:
        if carried.call is not None:
            carried.call.cancel()
        with contextlib.suppress(StreamNotFoundError):
            remove = partial(self._host.engine.remove_stream, stream_id)
            await self._threads.run("closing", remove)
        with contextlib.suppress(MetadataError):  # it ends by itself then
            await self._watcher.let_go(stream_id, is_removed=is_removed)
            await self._registry.release(stream_id, carried.epoch)

    async def renew(self) -> None:
        """Hold on to all streams; those that others hold by now are forgotten.

        Raises MetadataError.
        """
        for stream_id, carried in list(self._carried.items()):
            if not await self._registry.renew(stream_id, self._name, self.address, carried.epoch):
                logger.error("stream %s: another worker holds it now", stream_id)
                await self.drop(stream_id, is_removed=False)

    async def release(self) -> None:
        """Let go of all streams, so that others need not wait."""
        for stream_id, carried in self._carried.items():
            await self._registry.release(stream_id, carried.epoch)

    async def _hold(self, wanted: pb.WatchStreamOpen) -> _Carried:
        """The stream, claimed and in the engine.

        Raises StreamExistsError, CapacityError, MetadataError.
        """
        stream_id = checked_stream_id(wanted.stream_id)
        async with self._holding:
            if (carried := self._carried.get(stream_id)) is None:
                epoch = await self._registry.claim(stream_id, self._name, self.address)
                self._note_epoch(stream_id, epoch)
                try:
                    carried = await self._begun(stream_id, wanted, epoch)
                except BaseException:
                    await asyncio.shield(self._registry.release(stream_id, epoch))
                    raise
                self._carried[stream_id] = carried
            return carried

    async def erase_removed(self, stream_ids: Iterable[str]) -> None:
        """Erase what is kept of streams that were removed while this worker could not be told.

        Raises MetadataError.
        """
        for stream_id in stream_ids:
            async with self._holding:
                if stream_id not in self._carried:
                    await self._erase_removed(stream_id)

    async def _erase_removed(self, stream_id: str) -> None:
        snapshots = self._host.engine.snapshots
        if not (removed := await self._registry.removed_at(stream_id)):
            return
        saved = await self._threads.run("opening", partial(snapshots.last_saved, stream_id))
        if saved < removed:
            await self._threads.run("closing", partial(snapshots.erase, stream_id))

    async def _begun(self, stream_id: str, wanted: pb.WatchStreamOpen, epoch: int) -> _Carried:
        engine = self._host.engine
        await self._erase_removed(stream_id)
        reading = partial(engine.snapshots.open, stream_id, wanted.source)
        kept = await self._threads.run("opening", reading)
        feed = CarriedFeed(self._host.config.capture.queue_clips, kept.snapshot)
        try:
            await self._watcher.take_over(stream_id)
            engine.add_stream(
                stream_id,
                wanted.source,
                feed,
                created_utc_seconds=timestamp_from_proto(wanted.create_time),
                kept=kept,
                time_zone=wanted.time_zone or "UTC",
            )
        except BaseException:
            await asyncio.shield(self._watcher.let_go(stream_id, is_removed=False))
            raise
        return _Carried(feed=feed, epoch=epoch)

    def _note_epoch(self, stream_id: str, epoch: int) -> None:
        self._epochs[stream_id] = epoch
        self._epochs.move_to_end(stream_id)
        while len(self._epochs) > MAX_EPOCHS:
            self._epochs.popitem(last=False)

    def _put(self, feed: CarriedFeed, stream_id: str, request: pb.WatchStreamRequest) -> None:
        match request.WhichOneof("message"):
            case "clip":
                feed.put(clip_from_proto(request.clip, stream_id))
            case "gap":
                feed.put(gap_from_proto(request.gap))
            case "open":
                raise InvalidInputError("only the first message of WatchStream can be `open`")
        self._note(feed, request)
        self._host.engine.wake()

    def _note(self, feed: CarriedFeed, request: pb.WatchStreamRequest) -> None:
        if request.HasField("feed"):
            feed.note(feed_from_proto(request.feed))


async def _tell_taken(feed: CarriedFeed, has_taken: asyncio.Event, context: _WatchContext) -> None:
    while True:
        await has_taken.wait()
        has_taken.clear()
        if count := feed.taken():
            taken = pb.WatchStreamTaken(count=count)
            await context.write(pb.WatchStreamResponse(taken=taken))
