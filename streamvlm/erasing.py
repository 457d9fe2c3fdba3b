"""Requests to forget some of a stream, each carried out between two steps of the engine: first in
memory, then on the disk.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from streamvlm.erasure import Erased, check_past
from streamvlm.errors import CapacityError, StreamVLMError
from streamvlm.streams import WatchedStream
from streamvlm.types import UtcInterval
from streamvlm.vlm.base import DEVICE_LOST

MAX_WAITING = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Request:
    stream_id: str
    span: UtcInterval
    done: Future[Erased] = field(default_factory=Future)


class ErasureQueue:
    """`advance` belongs to the engine's thread, the rest to any."""

    def __init__(
        self,
        find: Callable[[str], WatchedStream],
        forget: Callable[[WatchedStream, UtcInterval], Erased],
        forget_on_disk: Callable[[WatchedStream], Future[None]],
    ) -> None:
        """`find` raises StreamNotFoundError; what `forget_on_disk` gives is done when only what is
        remembered now is kept, or fails.
        """
        self._find, self._forget, self._forget_on_disk = find, forget, forget_on_disk
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._failure: StreamVLMError | None = None

    def add(self, stream_id: str, span: UtcInterval) -> Future[Erased]:
        """Done when nothing of it is left, in memory or on the disk. Gives StreamNotFoundError,
        ErasureError, NotErasedError, EngineStoppedError. Raises CapacityError.
        """
        request = _Request(stream_id=stream_id, span=span)
        with self._lock:
            if self._failure is not None:
                request.done.set_exception(self._failure)
            elif len(self._waiting) >= MAX_WAITING:
                raise CapacityError(f"{MAX_WAITING} erasures are waiting, try again soon")
            else:
                self._waiting.append(request)
        return request.done

    def close(self, failure: StreamVLMError) -> None:
        """Nothing is erased any more: what waits gets this."""
        with self._lock:
            self._failure, waiting = failure, list(self._waiting)
            self._waiting.clear()
        for request in waiting:
            request.done.set_exception(failure)

    def advance(self) -> bool:
        """Carry out the oldest request; False where there is none."""
        with self._lock:
            request = self._waiting.popleft() if self._waiting else None
        if request is None:
            return False
        if request.done.set_running_or_notify_cancel():
            try:
                self._carry_out(request)
            except DEVICE_LOST as error:
                request.done.set_exception(error)
                raise
            except Exception as error:
                request.done.set_exception(error)
        return True

    def _carry_out(self, request: _Request) -> None:
        stream = self._find(request.stream_id)
        seen = stream.memory.remembered
        # A camera's clock may be ahead of ours: what it has shown has happened.
        check_past(request.span, max(time.time(), seen.end.utc_seconds if seen else 0.0))
        erased = self._forget(stream, request.span)

        def finish(written: Future[None]) -> None:
            if (error := written.exception()) is not None:
                request.done.set_exception(error)
            else:
                request.done.set_result(erased)

        self._forget_on_disk(stream).add_done_callback(finish)
