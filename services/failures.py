"""Every failure of a call in one place: which status it has, what is told, what is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from services.calls import OURS, Behavior, Context, Handler, wrapped
from services.ids import stream_id_of_call
from streamvlm import errors
from streamvlm.errors import InvalidInputError, StreamVLMError
from streamvlm.wire.failures import error_to_proto, shortened

logger = logging.getLogger(__name__)

STATUS_CODES: dict[type[StreamVLMError], grpc.StatusCode] = {
    errors.StreamVLMError: grpc.StatusCode.INTERNAL,
    errors.InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.QuestionError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TimeAheadError: grpc.StatusCode.OUT_OF_RANGE,
    errors.RuleError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FrameError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ErasureError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SuiteFormatError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.StreamNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.StreamExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.RuleNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.RuleExistsError: grpc.StatusCode.ALREADY_EXISTS,
    errors.AlertNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.WebhookNotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.AuthenticationError: grpc.StatusCode.UNAUTHENTICATED,
    errors.StreamEmptyError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TimeNotRememberedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CapacityError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.EngineStoppedError: grpc.StatusCode.UNAVAILABLE,
    errors.FencedError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MetadataError: grpc.StatusCode.UNAVAILABLE,
    errors.NotErasedError: grpc.StatusCode.INTERNAL,
    errors.SnapshotError: grpc.StatusCode.DATA_LOSS,
    errors.SnapshotMismatchError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.CheckpointError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.AddressInUseError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ServiceUnreachableError: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.SourceError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourceAddressError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.SourceUnreachableError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourceAuthError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourceNotFoundError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourceFormatError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourceStalledError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SourceLostError: grpc.StatusCode.FAILED_PRECONDITION,
}
"""The status of every error; a test proves that none is missing."""


class FailureMapper(grpc.aio.ServerInterceptor):
    """Ends our calls with the status of what their handlers raise."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of this call, guarded."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None or not method.startswith(OURS):
            return handler
        parse = _parser(handler)
        guarded: Any = wrapped(handler, method, lambda behavior: _guarded(behavior, method, parse))
        # Parsed behind the guard: gRPC itself has only UNKNOWN to tell of a message that is none.
        given: Handler = guarded._replace(request_deserializer=None)
        return given


def _parser(handler: Any) -> Callable[[Any], Any]:
    """From what came, bytes or a stream of them, to messages."""

    def parse(raw: bytes) -> Any:
        try:
            return handler.request_deserializer(raw)
        except DecodeError as error:
            raise InvalidInputError(f"the message cannot be read: {error}") from None

    async def parse_all(raws: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for raw in raws:
            yield parse(raw)

    return parse_all if handler.request_streaming else parse


def _guarded(behavior: Behavior, method: str, parse: Callable[[Any], Any]) -> Behavior:
    async def call(request: Any, context: Context) -> Any:
        try:
            return await behavior(parse(request), context)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception as error:
            await _abort(error, method, context)

    return call


async def _abort(error: Exception, method: str, context: Context) -> None:
    stream_id = stream_id_of_call()
    if isinstance(error, StreamVLMError):
        told = shortened(str(error))
        logger.info("stream %s: %s refused: %s: %s", stream_id, method, error.reason, told)
    else:
        # A traceback is for our log; its text could hold anything, so none of it is told.
        logger.error("stream %s: %s failed", stream_id, method, exc_info=error)
        error = StreamVLMError("internal error; the log of the service has the details")
    code = STATUS_CODES[type(error)]
    metadata = {"stream_id": stream_id} if stream_id else {}
    status = error_to_proto(error, code.value[0], metadata)
    await context.abort_with_status(rpc_status.to_status(status))
