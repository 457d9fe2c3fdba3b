"""Requests that may come twice, carried out once."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from services.ids import checked_request_id
from streamvlm.errors import EngineStoppedError, InvalidInputError

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class _Known(Generic[_Response]):
    digest: bytes
    work: asyncio.Task[_Response]


class RequestMemory(Generic[_Response]):
    """The newest `most` requests by their id, with their results. Only successes are remembered."""

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._known: OrderedDict[str, _Known[_Response]] = OrderedDict()
        self._working: set[asyncio.Task[_Response]] = set()
        self._is_closed = False

    async def once(
        self,
        request_id: str,
        request: Message,
        work: Callable[[], Coroutine[Any, Any, _Response]],
    ) -> _Response:
        """The result of the work, or of the same request before; without an id it is just done.

        Work with an id goes on when its caller goes away. Raises InvalidInputError where the id
        came with another request or is none, EngineStoppedError after `close`.
        """
        if not request_id:
            return await work()
        checked_request_id(request_id)
        # Not the request itself: it may hold credentials.
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        known = self._known.get(request_id)
        if known is None:
            if self._is_closed:
                raise EngineStoppedError("the service is stopping")
            known = _Known(digest, asyncio.create_task(work()))
            self._remember(request_id, known)
        if known.digest != digest:
            raise InvalidInputError(f"request_id {request_id!r} came with another request before")
        return await asyncio.shield(known.work)

    async def close(self) -> None:
        """Take no new work with an id, cancel what goes on, and wait for its end."""
        self._is_closed = True
        for work in self._working:
            work.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    def _remember(self, request_id: str, known: _Known[_Response]) -> None:
        self._known[request_id] = known
        while len(self._known) > self._most:
            self._known.popitem(last=False)

        def forget_failure(work: asyncio.Task[_Response]) -> None:
            has_failed = work.cancelled() or work.exception() is not None
            # Its place may have gone to a newer request under the same id.
            if has_failed and self._known.get(request_id) is known:
                del self._known[request_id]

        known.work.add_done_callback(forget_failure)
        self._working.add(known.work)
        known.work.add_done_callback(self._working.discard)
