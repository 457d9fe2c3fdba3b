"""One stream's clips on their way from its source to whatever worker holds its memory.

A worker that goes away is found again, or another one is; what it did not take is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import grpc

from services.registry import Registry, StreamRecord, Worker
from services.relay import Channels, relayed
from streamvlm.capture import Feed, PushFeed, SourceAddress, SourceKind
from streamvlm.errors import EngineStoppedError, SourceLostError, StreamVLMError
from streamvlm.types import Clip, FeedStatus, Gap, SourceState
from streamvlm.wire.clips import clip_to_proto
from streamvlm.wire.status import feed_to_proto
from streamvlm.wire.times import gap_to_proto, timestamp_to_proto
from streamvlm.wire.v1 import stream_service_pb2 as stream_pb
from streamvlm.wire.v1 import worker_service_pb2 as pb
from streamvlm.wire.v1.worker_service_pb2_grpc import WorkerServiceStub

logger = logging.getLogger(__name__)

STATUS_SECONDS = 0.5
"""How often a source that gives nothing is asked how it is doing."""
FORGET_SECONDS = 5.0
_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)

Source: TypeAlias = "Feed | PushFeed | _HalfRead"
_Call = grpc.aio.StreamStreamCall[pb.WatchStreamRequest, pb.WatchStreamResponse]


async def chosen_worker(registry: Registry, stream_id: str) -> Worker:
    """The worker that holds the stream, or the one with most room for it.

    Raises EngineStoppedError where none is ready, MetadataError.
    """
    workers = await registry.workers()
    if not workers:
        raise EngineStoppedError(
            "no worker is ready: the model may be being loaded; try again soon"
        )
    owner = await registry.owner(stream_id)
    if owner is not None and owner.worker in workers:
        return workers[owner.worker]
    return max(workers.values(), key=lambda each: (each.max_streams - each.num_streams, each.name))


class Carrier:
    """Carries one stream until it is told to end; belongs to the event loop."""

    def __init__(
        self,
        record: StreamRecord,
        make_source: Callable[[Worker], Source],
        registry: Registry,
        channels: Channels,
    ) -> None:
        self.record = record
        self._make_source, self._registry, self._channels = make_source, registry, channels
        self._loop = asyncio.get_running_loop()
        self._has_news = asyncio.Event()
        self._source: Source | None = None
        self._run_id = ""
        self._sent: deque[Clip | Gap] = deque()
        """On their way, or there and not taken yet; at most the worker's window."""
        self._told: FeedStatus | None = None
        self._worker: Worker | None = None
        self._opened: asyncio.Future[stream_pb.Stream] = self._loop.create_future()
        # Who waited for it may be gone when it fails.
        self._opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._task: asyncio.Task[None] | None = None

    @property
    def source(self) -> Source:
        """Where its clips come from. Raises EngineStoppedError while no worker was ever there."""
        if self._source is None:
            raise EngineStoppedError(f"stream {self.record.stream_id!r} waits for a worker")
        return self._source

    def begin(self, *, must_open: bool) -> None:
        """Carry from now on; with `must_open` a first attempt that fails is the end."""
        self._task = asyncio.create_task(self._run(must_open))

    async def opened(self) -> stream_pb.Stream:
        """The stream as its worker took it. Raises what the first attempt did."""
        return await asyncio.shield(self._opened)

    def end(self) -> Source | None:
        """Carry no more; whoever called stops the source, which may take a moment."""
        if self._task is not None:
            self._task.cancel()
        return self._source

    async def forget(self) -> None:
        """Let the worker forget the stream. Raises StreamVLMError where it cannot be told."""
        if self._worker is None:
            return
        stub = WorkerServiceStub(self._channels.to(self._worker.address))
        request = pb.ForgetStreamRequest(stream_id=self.record.stream_id)
        with relayed("the worker"):
            await stub.ForgetStream(request, timeout=FORGET_SECONDS)

    def _wake(self) -> None:
        """Something can be taken; on any thread."""
        with contextlib.suppress(RuntimeError):  # the loop may end before a decoder does
            self._loop.call_soon_threadsafe(self._has_news.set)

    async def _run(self, must_open: bool) -> None:
        failures = 0
        while True:
            opened_before = self._told
            try:
                worker = await chosen_worker(self._registry, self.record.stream_id)
                with relayed("the worker"):
                    await self._carry(worker)
            except StreamVLMError as error:
                if must_open and not self._opened.done():
                    self._opened.set_exception(error)
                    return
                if not failures:
                    logger.warning("stream %s waits: %s", self.record.stream_id, error)
            except Exception:
                logger.exception("stream %s", self.record.stream_id)
            failures = 0 if self._told is not opened_before else failures + 1
            await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])

    async def _carry(self, worker: Worker) -> None:
        """Carry to this worker until the call breaks. Raises AioRpcError, StreamVLMError."""
        self._worker = worker
        async with self._call_to(worker) as (call, opened):
            is_new = not opened.stream.memory.HasField("remembered")
            if self._source is not None and is_new and self._is_over and not self._sent:
                # What it showed is gone with its worker; a file can be read again, as a new run.
                await asyncio.to_thread(self._source.stop)
                self._source, self._run_id = None, ""
                return
            if self._source is None:
                self._source = self._made_source(worker, is_new)
                self._source.start(self._wake)
            if not self._opened.done():
                self._opened.set_result(opened.stream)
            self._told = None
            for item in self._sent:
                await call.write(self._request(item))
            await self._pump(call, opened.window)

    @asynccontextmanager
    async def _call_to(self, worker: Worker) -> AsyncIterator[tuple[_Call, pb.WatchStreamOpened]]:
        """A call on which the stream was opened."""
        if not self._run_id:
            self._run_id = uuid.uuid4().hex
        call = WorkerServiceStub(self._channels.to(worker.address)).WatchStream()
        try:
            asked = pb.WatchStreamOpen(
                stream_id=self.record.stream_id,
                source=str(SourceAddress.parse(self.record.source)),
                run_id=self._run_id,
                create_time=timestamp_to_proto(self.record.created_utc_seconds),
                time_zone=self.record.time_zone,
            )
            # What is written into a call that has failed already is told by reading.
            with contextlib.suppress(asyncio.InvalidStateError):
                await call.write(pb.WatchStreamRequest(open=asked))
            first = await _read(call)
            yield call, first.opened
        finally:
            call.cancel()

    def _made_source(self, worker: Worker, is_new: bool) -> Source:
        kind = SourceAddress.parse(self.record.source).kind
        if kind is SourceKind.FILE and not is_new:
            return _HalfRead()
        return self._make_source(worker)

    @property
    def _is_over(self) -> bool:
        state = self.source.status().state
        return state in (SourceState.ENDED, SourceState.FAILED)

    async def _pump(self, call: _Call, window: int) -> None:
        reading = asyncio.create_task(self._read_taken(call))
        try:
            while True:
                self._has_news.clear()
                item = self.source.take() if len(self._sent) < window else None
                status = self.source.status()
                if item is not None:
                    self._sent.append(item)
                if item is not None or status != self._told:
                    await call.write(self._request(item, status))
                    self._told = status
                if reading.done():
                    await reading
                if item is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(STATUS_SECONDS):
                            await self._has_news.wait()
        except asyncio.InvalidStateError:
            await reading  # it knows why the call has ended
        finally:
            reading.cancel()

    async def _read_taken(self, call: _Call) -> None:
        try:
            while True:
                response = await _read(call)
                for _ in range(min(response.taken.count, len(self._sent))):
                    self._sent.popleft()
                self._has_news.set()
        finally:
            self._has_news.set()

    def _request(
        self, item: Clip | Gap | None, status: FeedStatus | None = None
    ) -> pb.WatchStreamRequest:
        return pb.WatchStreamRequest(
            clip=clip_to_proto(item) if isinstance(item, Clip) else None,
            gap=gap_to_proto(item) if isinstance(item, Gap) else None,
            feed=feed_to_proto(status) if status else None,
        )


class _HalfRead:
    """A file of which a worker remembers what an ingest before this one read of it."""

    def start(self, wake: Callable[[], None]) -> None:
        """Nothing begins."""

    def wait_until_live(self, timeout_seconds: float) -> None:
        """It is over."""

    def ask_to_stop(self) -> None:
        """Nothing goes on."""

    def take(self) -> None:
        """Nothing more comes: reading it again would show everything twice."""

    def status(self) -> FeedStatus:
        """Over, and why."""
        return FeedStatus(
            state=SourceState.FAILED,
            reason=SourceLostError.reason,
            message="ingest was started anew; remove the stream and add it again to read the file",
        )

    def stop(self) -> None:
        """Nothing is held."""


async def _read(call: _Call) -> pb.WatchStreamResponse:
    """The next response. Raises AioRpcError, EngineStoppedError where the worker just ended."""
    response = await call.read()
    if isinstance(response, pb.WatchStreamResponse):
        return response
    raise EngineStoppedError("the worker ended the call")
