from __future__ import annotations

import asyncio

import pytest

from services.requests import RequestMemory
from services.store import Store
from streamvlm.errors import EngineStoppedError, InvalidInputError, SourceUnreachableError
from streamvlm.wire.v1.stream_service_pb2 import CreateStreamRequest, CreateStreamResponse

REQUEST = CreateStreamRequest(stream_id="door", source="push:", request_id="1")


def memory_in(store: Store, most: int = 1024) -> RequestMemory[CreateStreamResponse]:
    return RequestMemory(store, "CreateStream", CreateStreamResponse, most)


class Work:
    """Counts how often it is done; ends when told to."""

    def __init__(self) -> None:
        self.num_done = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> CreateStreamResponse:
        await self.may_end.wait()
        self.num_done += 1
        if self.error:
            raise self.error
        return CreateStreamResponse()


async def test_a_repeated_request_is_carried_out_once(store: Store) -> None:
    memory, work = memory_in(store), Work()
    both = [asyncio.create_task(memory.once("1", REQUEST, work)) for _ in range(2)]
    work.may_end.set()
    first, second = await asyncio.gather(*both)
    assert await memory.once("1", REQUEST, work) is first is second
    assert work.num_done == 1


async def test_without_an_id_each_request_is_new(store: Store) -> None:
    memory, work = memory_in(store), Work()
    work.may_end.set()
    await memory.once("", REQUEST, work)
    await memory.once("", REQUEST, work)
    assert work.num_done == 2


async def test_an_id_belongs_to_one_request(store: Store) -> None:
    memory, work = memory_in(store), Work()
    work.may_end.set()
    await memory.once("1", REQUEST, work)
    other = CreateStreamRequest(stream_id="hall", source="push:", request_id="1")
    with pytest.raises(InvalidInputError, match="'1' came with another request"):
        await memory.once("1", other, work)


async def test_a_failure_is_not_remembered(store: Store) -> None:
    memory, work = memory_in(store), Work()
    work.may_end.set()
    work.error = SourceUnreachableError("nobody")
    with pytest.raises(SourceUnreachableError):
        await memory.once("1", REQUEST, work)
    work.error = None
    await memory.once("1", REQUEST, work)
    assert work.num_done == 2


async def test_work_goes_on_when_its_caller_goes_away(store: Store) -> None:
    memory, work = memory_in(store), Work()
    impatient = asyncio.create_task(memory.once("1", REQUEST, work))
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    work.may_end.set()
    await memory.once("1", REQUEST, work)
    assert work.num_done == 1


async def test_a_failure_does_not_take_a_newer_success_with_it(store: Store) -> None:
    memory = memory_in(store, most=1)
    failing, work = Work(), Work()
    failing.error = SourceUnreachableError("nobody")
    first = asyncio.create_task(memory.once("1", REQUEST, failing))
    await asyncio.sleep(0)
    work.may_end.set()
    await memory.once("2", REQUEST, work)
    await memory.once("1", REQUEST, work)
    failing.may_end.set()
    with pytest.raises(SourceUnreachableError):
        await first
    await asyncio.sleep(0)
    await memory.once("1", REQUEST, work)
    assert work.num_done == 2


@pytest.mark.parametrize("request_id", ["x" * 129, "a\nb"])
async def test_an_id_is_short_and_printable(store: Store, request_id: str) -> None:
    memory, work = memory_in(store), Work()
    work.may_end.set()
    with pytest.raises(InvalidInputError, match="at most 128 printable"):
        await memory.once(request_id, REQUEST, work)
    assert work.num_done == 0


async def test_closing_ends_what_goes_on(store: Store) -> None:
    memory, work = memory_in(store), Work()
    caller = asyncio.create_task(memory.once("1", REQUEST, work))
    await asyncio.sleep(0)
    await memory.close()
    with pytest.raises(asyncio.CancelledError):
        await caller
    with pytest.raises(EngineStoppedError):
        await memory.once("2", REQUEST, work)


async def test_what_another_gateway_did_is_not_done_again(store: Store) -> None:
    memory, other, work = memory_in(store), memory_in(store), Work()
    work.may_end.set()
    first = await memory.once("1", REQUEST, work)
    assert await other.once("1", REQUEST, work) == first
    with pytest.raises(InvalidInputError, match="'1' came with another request"):
        await memory_in(store).once("1", CreateStreamRequest(stream_id="hall"), work)
    assert work.num_done == 1


async def test_only_the_newest_are_held_here(store: Store) -> None:
    memory, work = memory_in(store, most=2), Work()
    work.may_end.set()
    for request_id in ("1", "2", "3"):
        await memory.once(request_id, REQUEST, work)
    await store.redis.flushall()
    for request_id in ("2", "3", "1"):
        await memory.once(request_id, REQUEST, work)
    assert work.num_done == 4
