"""QueryService: a question goes to the engine, the events of its answer come back."""

from __future__ import annotations

import asyncio
import uuid

import grpc

from services.host import EngineHost
from services.ids import checked_stream_id
from streamvlm.errors import DeadlineExceededError
from streamvlm.types import AnswerEvent, AnswerFailed, AnswerFinished
from streamvlm.wire.answers import event_to_proto, question_from_proto
from streamvlm.wire.searches import found_to_proto, search_from_proto
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceServicer

DEFAULT_DEADLINE_SECONDS = 30.0
"""Of a call without a deadline."""

_Context = grpc.aio.ServicerContext[pb.AskRequest, pb.AskResponse]
_SearchContext = grpc.aio.ServicerContext[pb.SearchRequest, pb.SearchResponse]


class QueryServicer(QueryServiceServicer):
    """Answers questions. Errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

    async def Ask(self, request: pb.AskRequest, context: _Context) -> None:
        """Write the events of an answer as they come; the caller's end is the answer's end."""
        checked_stream_id(request.stream_id)
        question = question_from_proto(request, question_id=uuid.uuid4().hex)
        engine, loop = self._host.engine, asyncio.get_running_loop()
        # Never full: an answer has one event for each token besides its first and its last.
        events: asyncio.Queue[AnswerEvent] = asyncio.Queue(question.sampling.max_new_tokens + 2)

        def listen(event: AnswerEvent) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        engine.ask(question, listen)
        has_deadline = context.time_remaining() is not None
        try:
            async with asyncio.timeout(None if has_deadline else DEFAULT_DEADLINE_SECONDS):
                await _write_all(events, context)
        except TimeoutError:
            raise DeadlineExceededError(
                f"no whole answer within {DEFAULT_DEADLINE_SECONDS:g} s, which a call without a "
                "deadline has; give one that is longer, or ask for fewer tokens"
            ) from None
        finally:
            engine.cancel(question.question_id)

    async def Search(self, request: pb.SearchRequest, context: _SearchContext) -> pb.SearchResponse:
        """The best moments of the streams that this worker has; the caller's end is its end."""
        search = search_from_proto(request)
        for stream_id in search.stream_ids:
            checked_stream_id(stream_id)
        searching = self._host.engine.search(search)
        has_deadline = context.time_remaining() is not None
        try:
            async with asyncio.timeout(None if has_deadline else DEFAULT_DEADLINE_SECONDS):
                return found_to_proto(await asyncio.wrap_future(searching))
        except TimeoutError:
            raise DeadlineExceededError(
                f"nothing found within {DEFAULT_DEADLINE_SECONDS:g} s, which a call without a "
                "deadline has; give one that is longer, or search fewer streams"
            ) from None


async def _write_all(events: asyncio.Queue[AnswerEvent], context: _Context) -> None:
    while True:
        event = await events.get()
        if isinstance(event, AnswerFailed):
            raise event.error
        await context.write(event_to_proto(event))
        if isinstance(event, AnswerFinished):
            return
