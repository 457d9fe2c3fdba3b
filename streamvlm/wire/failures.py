"""Errors on the wire: a `google.rpc.Status` whose ErrorInfo has our `reason`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from streamvlm.errors import (
    CapacityError,
    EngineStoppedError,
    InvalidInputError,
    MetadataError,
    QuestionError,
    SourceAddressError,
    StreamVLMError,
)

DOMAIN = "streamvlm.dev"
"""Of our reasons: who else sends an ErrorInfo means something else by its words."""

RETRY_SECONDS: dict[type[StreamVLMError], int] = {
    CapacityError: 5,
    EngineStoppedError: 2,
    MetadataError: 2,
}
"""Errors that may be gone when the same is asked again, and when that makes sense."""

_MOST_BYTES = 1_000
"""Of a text in a status, which travels twice in headers of at most 8 KiB, escaped."""

_FIELDS: dict[type[StreamVLMError], str] = {QuestionError: "question", SourceAddressError: "source"}
"""Errors that blame one field of a request."""


def error_to_proto(error: StreamVLMError, code: int, metadata: Mapping[str, str]) -> Status:
    """The error as the status of a call; `code` is the number of its gRPC status code."""
    status = Status(code=code, message=shortened(str(error)))
    told = {key: shortened(value) for key, value in metadata.items()}
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=told)
    for detail in (info, *_details(error)):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def error_from_proto(status: Status) -> StreamVLMError | None:
    """The error that a service told of; None where the status is not from a streamvlm service."""
    for packed in status.details:
        info = ErrorInfo()
        if packed.Unpack(info) and info.domain == DOMAIN:
            return _by_reason(info.reason)(status.message)
    return None


def all_errors(root: type[StreamVLMError] = StreamVLMError) -> set[type[StreamVLMError]]:
    """A class and all that are derived from it."""
    return {root}.union(*map(all_errors, root.__subclasses__()))


def shortened(text: str) -> str:
    """Without its middle, where errors quote what was sent; what is allowed comes at the end."""
    encoded, half = text.encode(errors="replace"), _MOST_BYTES // 2
    if len(encoded) <= _MOST_BYTES:
        return text
    head, tail = encoded[:half].decode(errors="ignore"), encoded[-half:].decode(errors="ignore")
    return f"{head} ... {tail}"


def _details(error: StreamVLMError) -> Iterator[Message]:
    if isinstance(error, InvalidInputError):
        problem = BadRequest.FieldViolation(
            field=_FIELDS.get(type(error), ""), description=shortened(str(error))
        )
        yield BadRequest(field_violations=[problem])
    if type(error) in RETRY_SECONDS:
        yield RetryInfo(retry_delay=Duration(seconds=RETRY_SECONDS[type(error)]))


def _by_reason(reason: str) -> type[StreamVLMError]:
    """A reason that we do not know comes from a newer service: the error of the root then."""
    known = {error.reason: error for error in all_errors()}
    return known.get(reason, StreamVLMError)
