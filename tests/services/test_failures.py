from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from services.failures import STATUS_CODES, FailureMapper
from services.ids import checked_stream_id
from streamvlm.errors import CapacityError, QuestionError, SourceAddressError
from streamvlm.wire.failures import all_errors
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import (
    QueryServiceServicer,
    QueryServiceStub,
    add_QueryServiceServicer_to_server,
)


class Failing(QueryServiceServicer):
    """Raises what it was given."""

    error: Exception

    async def Ask(self, request: pb.AskRequest, context: object) -> None:
        checked_stream_id(request.stream_id)
        raise self.error


@pytest.fixture
async def failing() -> AsyncIterator[Failing]:
    servicer, server = Failing(), grpc.aio.server(interceptors=[FailureMapper()])
    add_QueryServiceServicer_to_server(servicer, server)
    servicer.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer
    await server.stop(0)


async def fail_with(failing: Failing, error: Exception) -> grpc.aio.AioRpcError:
    failing.error = error
    async with grpc.aio.insecure_channel(f"127.0.0.1:{failing.port}") as channel:
        call = QueryServiceStub(channel).Ask(pb.AskRequest(stream_id="door"), timeout=10)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
    return raised.value


def test_every_error_has_a_status() -> None:
    assert all_errors() == set(STATUS_CODES)


async def test_a_typed_error_comes_with_its_reason(failing: Failing) -> None:
    error = await fail_with(failing, QuestionError("the question is empty"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "the question is empty"
    info, bad_request = ErrorInfo(), BadRequest()
    packed = rpc_status.from_call(error).details
    assert packed[0].Unpack(info) and packed[1].Unpack(bad_request)
    assert (info.reason, info.domain) == ("INVALID_QUESTION", "streamvlm.dev")
    assert info.metadata == {"stream_id": "door"}
    assert bad_request.field_violations[0].field == "question"


async def test_who_meets_a_limit_hears_when_to_come_again(failing: Failing) -> None:
    error = await fail_with(failing, CapacityError("16 streams"))
    retry = RetryInfo()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc_status.from_call(error).details[1].Unpack(retry)
    assert retry.retry_delay.seconds > 0


async def test_an_error_of_two_kinds_has_the_status_of_its_own(failing: Failing) -> None:
    error = await fail_with(failing, SourceAddressError("no address"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_internal_error_is_logged_and_not_told(
    failing: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="services.failures"):
        error = await fail_with(failing, RuntimeError("the secret is 42"))
    assert error.code() is grpc.StatusCode.INTERNAL
    told = f"{error.details()} {error.trailing_metadata()}"
    assert "42" not in told and "Traceback" not in told and "internal error" in told
    (record,) = caplog.records
    assert record.exc_info and "the secret is 42" in str(record.exc_info[1])
    assert "door" in record.getMessage()
