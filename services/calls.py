"""Calls that go on: how many may, and how they end when the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc

from streamvlm.errors import CapacityError, EngineStoppedError

Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Awaitable[Any]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

OURS = "/streamvlm."
"""How the methods of our services begin."""
_ASK = "/streamvlm.v1.QueryService/Ask"
_STOPPING = "the service is stopping"


def wrapped(handler: Handler, method: str, wrap: Callable[[Behavior], Behavior]) -> Handler:
    """The handler with its behavior wrapped; that of a foreign service as it is.

    Works on handlers that are coroutines, so those of streams write and do not yield.
    """
    if handler is None or not method.startswith(OURS):
        return handler
    behaviors = {
        kind: wrap(behavior)
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
        if (behavior := getattr(handler, kind, None)) is not None
    }
    # The handlers that grpc makes are named tuples, which its types do not say.
    replaced: Handler = handler._replace(**behaviors)  # type: ignore[attr-defined]
    return replaced


class OpenCalls(grpc.aio.ServerInterceptor):
    """Our calls that go on, at most so many. Health and reflection always get through."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._answers: set[asyncio.Task[Any]] = set()
        self._others: set[asyncio.Task[Any]] = set()
        self._is_ending = self._must_answers_end = False

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of this call, counted."""
        method = handler_call_details.method
        calls = self._answers if method == _ASK else self._others
        handler = await continuation(handler_call_details)
        return wrapped(handler, method, lambda behavior: self._counted(behavior, calls))

    async def end_all_but_answers(self, timeout_seconds: float) -> None:
        """Let the calls that are no answers end with EngineStoppedError; return when they have, or
        at the timeout.
        """
        self._is_ending = True
        for task in self._others:
            task.cancel()
        if self._others:
            await asyncio.wait(self._others, timeout=timeout_seconds)

    async def end_answers(self, timeout_seconds: float) -> None:
        """Let the answers that are still being given end with EngineStoppedError; return when they
        have, or at the timeout.
        """
        self._must_answers_end = True
        for task in self._answers:
            task.cancel()
        await self.wait_for_answers(timeout_seconds)

    async def wait_for_answers(self, timeout_seconds: float) -> None:
        """Return when all answers have been given, or at the timeout."""
        if self._answers:
            await asyncio.wait(self._answers, timeout=timeout_seconds)

    def _counted(self, behavior: Behavior, calls: set[asyncio.Task[Any]]) -> Behavior:
        async def call(request: Any, context: Context) -> Any:
            if len(self._answers) + len(self._others) >= self._max_calls:
                raise CapacityError(f"{self._max_calls} calls go on, the service takes no more")
            if self._must_end(calls):
                # gRPC took it in before the stop, and it would be none of those that are ended.
                raise EngineStoppedError(_STOPPING)
            task = asyncio.current_task()
            assert task is not None, "handlers run in tasks"
            calls.add(task)
            try:
                return await behavior(request, cast(Context, _WholeHeaders(context)))
            except asyncio.CancelledError:
                if not self._must_end(calls):
                    raise
                # It was us. What is left of the call is to tell the caller why.
                task.uncancel()
                raise EngineStoppedError(_STOPPING) from None
            finally:
                calls.discard(task)

        return call

    def _must_end(self, calls: set[asyncio.Task[Any]]) -> bool:
        return self._must_answers_end if calls is self._answers else self._is_ending


class _WholeHeaders:
    """The context of a call whose headers are sent once, whenever its handler is cancelled.

    gRPC itself sends them with the first message. Where that write is cancelled it does not know
    that it did, sends them again with the status, and fails: the caller never hears why the call
    ended. Headers are sent even where the caller does not read; a message may wait for that, and
    the status behind it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sending: asyncio.Future[None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """See `grpc.aio.ServicerContext.write`."""
        if self._sending is None:
            self._sending = asyncio.ensure_future(self._context.send_initial_metadata(()))
        try:
            await asyncio.shield(self._sending)
        except asyncio.CancelledError:
            await asyncio.wait({self._sending})
            raise
        await self._context.write(message)
