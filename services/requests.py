"""Requests that may come twice, carried out once: known for a day, whichever gateway they reach."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from services import keys
from services.ids import checked_request_id
from services.store import Store
from streamvlm.errors import EngineStoppedError, InvalidInputError, MetadataError

logger = logging.getLogger(__name__)

_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class _Known(Generic[_Response]):
    digest: bytes
    work: asyncio.Task[_Response]


class RequestMemory(Generic[_Response]):
    """Requests by their id, with their results; those of a day in Redis, the newest `most` here
    too. Only successes are remembered.
    """

    def __init__(
        self, store: Store, method: str, response: type[_Response], most: int = 1024
    ) -> None:
        self._store, self._method, self._response = store, method, response
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
            known = _Known(digest, asyncio.create_task(self._work(request_id, digest, work)))
            self._remember(request_id, known)
        if known.digest != digest:
            raise _other_request(request_id)
        return await asyncio.shield(known.work)

    async def _work(
        self, request_id: str, digest: bytes, work: Callable[[], Coroutine[Any, Any, _Response]]
    ) -> _Response:
        """What was the result before, or else the result of the work."""
        key = keys.request(self._method, request_id)
        with self._store.errors():
            before = await self._store.redis.get(key)
        if before is not None:
            if before[: len(digest)] != digest:
                raise _other_request(request_id)
            return self._response.FromString(before[len(digest) :])
        response = await work()
        try:
            with self._store.errors():
                value = digest + response.SerializeToString()
                await self._store.redis.set(key, value, ex=keys.REQUEST_SECONDS)
        except MetadataError as error:
            logger.warning("request %s is known to this gateway only: %s", request_id, error)
        return response

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


def _other_request(request_id: str) -> InvalidInputError:
    return InvalidInputError(f"request_id {request_id!r} came with another request before")
