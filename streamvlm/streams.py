"""The streams that an engine watches: a bounded table that any thread may use."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

from streamvlm.erasure import Erased
from streamvlm.errors import (
    CapacityError,
    EngineStoppedError,
    StreamExistsError,
    StreamNotFoundError,
)
from streamvlm.gaps import ERASED, is_erased
from streamvlm.pipeline import StreamPipeline
from streamvlm.types import (
    Clip,
    ClockSource,
    FeedStatus,
    Gap,
    MemoryStatus,
    StreamStatus,
    UtcInterval,
    VisualTokens,
)
from streamvlm.vlm.base import DEVICE_LOST
from streamvlm.when import zone_named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


class ClipFeed(Protocol):
    """Where a stream's clips come from. Thread-safe."""

    def take(self) -> Clip | Gap | None:
        """The next clip or gap, or None; never blocks."""
        ...

    def status(self) -> FeedStatus:
        """How the source is doing."""
        ...

    def stop(self) -> None:
        """End the source and free what it holds; may take a moment; may be called twice."""
        ...


@dataclass(slots=True, kw_only=True, eq=False)
class WatchedStream:
    """One stream. The pipeline belongs to the engine's thread, which replaces `memory`."""

    stream_id: str
    source: str
    """Its address without credentials."""
    feed: ClipFeed
    pipeline: StreamPipeline
    memory: MemoryStatus
    created_utc_seconds: float
    time_zone: str
    """IANA name."""
    picture: NDArray[np.uint8] | None = None
    """The newest frame, uint8 [H,W,3]."""

    def admit(self, clip: Clip) -> bool:
        """Whether a clip is new; one that cannot even be compared is, and the encoder will tell."""
        try:
            return self.pipeline.admit(clip)
        except ValueError:
            log.exception("stream %s: a clip of size %s", self.stream_id, clip.pixels.shape)
            return True

    def take(self) -> Clip | Gap | None:
        """The next piece of its feed; a clip of a time that was erased comes as a gap."""
        item = self.feed.take()
        if isinstance(item, Clip) and is_erased(item.interval, self.memory.gaps):
            return Gap(interval=item.interval, reason=ERASED)
        return item

    def erase(self, span: UtcInterval) -> Erased:
        """Forget what the span touches, and the newest picture whatever its time."""
        erased, self.picture = self.pipeline.erase(span), None
        try:
            self.pipeline.settle()
        except DEVICE_LOST:
            raise
        except Exception:
            log.exception("stream %s: an open segment could not be remembered", self.stream_id)
        self.memory = self.pipeline.status()
        return erased

    def remember(self, item: Clip | Gap, tokens: VisualTokens | None) -> None:
        """Take in one piece; a clip without tokens showed nothing new. The pipeline notes as a gap
        what it loses.
        """
        if isinstance(item, Clip):
            self.picture = item.pixels[-1]
        try:
            if isinstance(item, Gap):
                self.pipeline.interrupt(item)
            elif tokens is None:
                self.pipeline.extend(item)
            else:
                self.pipeline.feed(tokens)
        except DEVICE_LOST:
            raise
        except Exception:
            log.exception("stream %s: a clip could not be remembered", self.stream_id)
        self.memory = self.pipeline.status()

    def check_books(self) -> None:
        """An idle moment is the time to find our own mistakes; the stream goes on all the same."""
        try:
            self.pipeline.memory.check()
        except AssertionError:
            log.exception("stream %s: the books of its memory do not balance", self.stream_id)

    @property
    def can_wait(self) -> bool:
        """Whether its next clip may be taken later: a file's does not grow old."""
        remembered = self.memory.remembered
        return remembered is not None and remembered.end.clock is ClockSource.FILE

    @property
    def zone(self) -> ZoneInfo:
        """Of times that questions name."""
        return zone_named(self.time_zone)

    def status(self) -> StreamStatus:
        """As a listing shows it; any thread."""
        return StreamStatus(
            stream_id=self.stream_id,
            source=self.source,
            created_utc_seconds=self.created_utc_seconds,
            feed=self.feed.status(),
            memory=self.memory,
            time_zone=self.time_zone,
        )


class StreamTable:
    """At most `max_streams` streams by their id."""

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._lock = threading.Lock()
        self._streams: dict[str, WatchedStream] = {}
        self._leaving: set[str] = set()
        """Ids of streams that are being removed."""
        self._is_closed = False

    def add(
        self,
        stream_id: str,
        source: str,
        feed: ClipFeed,
        pipeline: StreamPipeline,
        created_utc_seconds: float | None = None,
        time_zone: str = "UTC",
    ) -> WatchedStream:
        """Watch a feed, which was created now if nothing else is known.

        Raises StreamExistsError, CapacityError, EngineStoppedError.
        """
        stream = WatchedStream(
            stream_id=stream_id,
            source=source,
            feed=feed,
            pipeline=pipeline,
            memory=pipeline.status(),
            created_utc_seconds=created_utc_seconds or time.time(),
            time_zone=time_zone,
        )
        with self._lock:
            self._check_room_for(stream_id)
            self._streams[stream_id] = stream
        return stream

    def get(self, stream_id: str) -> WatchedStream:
        """The stream with this id. Raises StreamNotFoundError."""
        with self._lock:
            stream = self._streams.get(stream_id)
        if stream is None:
            raise StreamNotFoundError(f"no stream {stream_id!r}")
        return stream

    def all(self) -> list[WatchedStream]:
        """Those of now, by id."""
        with self._lock:
            return [self._streams[stream_id] for stream_id in sorted(self._streams)]

    def named(self, stream_ids: Sequence[str]) -> list[WatchedStream]:
        """Those with these ids, or all where none is given. Raises StreamNotFoundError."""
        return [self.get(stream_id) for stream_id in stream_ids] if stream_ids else self.all()

    def remove(self, stream_id: str) -> None:
        """Take a stream out and stop its feed, which keeps its place until then.

        Raises StreamNotFoundError.
        """
        with self._lock:
            stream = self._streams.pop(stream_id, None)
            if stream is None:
                raise StreamNotFoundError(f"no stream {stream_id!r}")
            self._leaving.add(stream_id)
        try:
            stream.feed.stop()
        finally:
            with self._lock:
                self._leaving.discard(stream_id)

    def close(self) -> None:
        """Take all streams out, stop their feeds, and take no more."""
        with self._lock:
            self._is_closed = True
            streams = list(self._streams.values())
            self._streams.clear()
        if not streams:
            return
        # All at the same time: each may take the seconds that a decoder has to end.
        with ThreadPoolExecutor(len(streams), thread_name_prefix="stopping") as pool:
            stops = [pool.submit(stream.feed.stop) for stream in streams]
        for stop in stops:
            stop.result()

    def _check_room_for(self, stream_id: str) -> None:
        if self._is_closed:
            raise EngineStoppedError("the engine is stopping")
        if stream_id in self._streams:
            raise StreamExistsError(f"stream {stream_id!r} exists already")
        if stream_id in self._leaving:
            raise StreamExistsError(f"stream {stream_id!r} is being removed")
        if len(self._streams) + len(self._leaving) >= self._max_streams:
            raise CapacityError(
                f"{self._max_streams} streams are watched, engine.max_streams allows no more"
            )
