"""Requests that may come twice, carried out once."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from streamvlm.errors import InvalidInputError

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

    async def once(
        self,
        request_id: str,
        request: Message,
        work: Callable[[], Coroutine[Any, Any, _Response]],
    ) -> _Response:
        """The result of the work, or of the same request before; without an id it is just done.

        Work with an id goes on when its caller goes away. Raises InvalidInputError where the id
        came with another request.
        """
        if not request_id:
            return await work()
        # Not the request itself: it may hold credentials.
        digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
        known = self._known.get(request_id)
        if known is None:
            known = _Known(digest, asyncio.create_task(work()))
            self._remember(request_id, known)
        if known.digest != digest:
            raise InvalidInputError(f"request_id {request_id!r} came with another request before")
        return await asyncio.shield(known.work)

    def _remember(self, request_id: str, known: _Known[_Response]) -> None:
        self._known[request_id] = known
        while len(self._known) > self._most:
            self._known.popitem(last=False)

        def forget_failure(work: asyncio.Task[_Response]) -> None:
            if work.cancelled() or work.exception() is not None:
                self._known.pop(request_id, None)

        known.work.add_done_callback(forget_failure)
