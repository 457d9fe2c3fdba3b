"""The client for asyncio, against a real service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from streamvlm.alerts import AlertRule, AlertState
from streamvlm.client import AsyncClient, Client, PushedFrame
from streamvlm.errors import (
    AlertNotFoundError,
    InvalidInputError,
    ServiceUnreachableError,
    StreamNotFoundError,
)
from streamvlm.types import AnswerFinished, AnswerStarted, Sampling, UtcInterval
from tests.services.serving import Serving, frames, push_stream

ALWAYS = AlertRule(
    rule_id="always", text="Is it?", enter_threshold=-1000.0, leave_threshold=-2000.0
)


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


@pytest_asyncio.fixture
async def client(serving: Serving) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(serving.address) as client:
        yield client
        for status in await client.list_streams():
            await client.delete_stream(status.stream_id)
        for rule in await client.list_rules():
            await client.delete_rule(rule.rule_id)


async def test_a_stream_is_watched_and_asked(serving: Serving, client: AsyncClient) -> None:
    assert await client.is_serving()
    with Client(serving.address) as pushing:
        push_stream(pushing, "door")
    assert (await client.get_stream("door")).memory.clips_encoded == 6
    events = [event async for event in client.ask("door", "what?", Sampling(max_new_tokens=3))]
    assert isinstance(events[0], AnswerStarted) and isinstance(events[-1], AnswerFinished)
    erased = await client.erase_stream("door", UtcInterval())
    assert erased.num_blocks + erased.num_clips > 1
    await client.create_stream("hall", "push:")
    assert [status.stream_id for status in await client.list_streams()] == ["door", "hall"]


async def test_alerts_come_and_are_seen_to(serving: Serving, client: AsyncClient) -> None:
    assert await client.create_rule(ALWAYS) == ALWAYS
    with Client(serving.address) as pushing:
        push_stream(pushing, "gate")
        sync_trial = pushing.test_rule(ALWAYS, "gate")
    trial = await client.test_rule(ALWAYS, "gate")
    assert trial.is_reached and trial.margin == sync_trial.margin
    listed = await client.list_events(stream_ids=["gate"])
    while not listed:
        listed = await client.list_events(stream_ids=["gate"])
    alert = listed[-1].event
    assert alert.state is AlertState.FIRING
    await client.acknowledge_alert(alert.alert_id, by="Ada")
    assert (await client.list_events(stream_ids=["gate"]))[-1].acknowledged_by == "Ada"
    with pytest.raises(AlertNotFoundError):
        await client.acknowledge_alert("nothing")
    louder = AlertRule(rule_id="always", text="Is it so?")
    assert await client.update_rule(louder) == await client.get_rule("always") == louder
    async for given in client.subscribe(resume_token="none"):
        assert given.alert is None, "what was missed comes first"
        break


async def test_frames_are_pushed_as_there_is_room(client: AsyncClient) -> None:
    await client.create_stream("pushed", "push:")
    acks = [ack async for ack in client.push_frames("pushed", live(40))]
    assert [ack.error for ack in acks] == [None] * 40
    assert (await client.get_stream("pushed")).feed.last_frame is not None


async def test_what_a_producer_raises_reaches_who_pushes(client: AsyncClient) -> None:
    async def broken() -> AsyncIterator[PushedFrame]:
        async for frame in live(3):
            yield frame
        raise OSError("the camera is gone")

    await client.create_stream("pushed", "push:")
    acks = []
    with pytest.raises(OSError, match="the camera is gone"):
        async for ack in client.push_frames("pushed", broken()):
            acks.append(ack)
    assert len(acks) == 3
    with pytest.raises(StreamNotFoundError):
        async for _ in client.push_frames("nowhere", live(1)):
            pass


async def test_who_stops_reading_stops_the_frames(client: AsyncClient) -> None:
    await client.create_stream("pushed", "push:")
    ended = list[str]()
    pushing = client.push_frames("pushed", noting(live(10_000), ended))
    async for _ in pushing:
        break
    await pushing.aclose()
    assert ended == ["the frames"]
    again = [ack async for ack in client.push_frames("pushed", live(2, first=10_000))]
    assert [ack.error for ack in again] == [None] * 2


async def test_a_call_that_the_service_ends_leaves_nothing_behind(client: AsyncClient) -> None:
    before, ended = asyncio.all_tasks(), list[str]()
    for _ in range(3):
        with pytest.raises(StreamNotFoundError):
            async for _ in client.push_frames("nowhere", noting(live(5), ended)):
                pass
    await asyncio.sleep(0.1)
    assert not {task for task in asyncio.all_tasks() - before if "consume" in repr(task)}


async def noting(
    producer: AsyncIterator[PushedFrame], ended: list[str]
) -> AsyncIterator[PushedFrame]:
    try:
        async for frame in producer:
            yield frame
    finally:
        ended.append("the frames")


async def live(number: int, first: int = 0) -> AsyncIterator[PushedFrame]:
    for index in range(first, first + number):
        yield frames(1, first=index)[0]


async def test_errors_are_typed(serving: Serving, client: AsyncClient) -> None:
    with pytest.raises(StreamNotFoundError):
        await client.get_stream("nowhere")
    with pytest.raises(InvalidInputError, match="HOST:PORT"):
        AsyncClient("nowhere")
    async with AsyncClient("127.0.0.1:1", timeout_seconds=5) as nobody:
        with pytest.raises(ServiceUnreachableError):
            await nobody.list_streams()
    with pytest.raises(InvalidInputError, match="closed"):
        await nobody.list_streams()
