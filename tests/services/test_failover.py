"""A stream goes from one worker to another: what was open about it goes on there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio

from services import keys
from services.carried import CarriedFeed
from services.event_log import EventLog
from services.gateway import routing
from services.host import EngineHost
from services.ingest import ingesting
from services.registry import Registry
from services.store import Store
from services.worker import working
from streamvlm.alerts import Alert, AlertState, CameraState
from streamvlm.async_client import AsyncClient
from streamvlm.engine import StreamEngine
from streamvlm.errors import CapacityError
from tests.services.serving import eventually, small_config
from tests.services.test_embedded import ALWAYS
from tests.services.test_event_log import alert, outage

SOURCE = "synthetic:moving?realtime=1&seconds=600"
GRACE_SECONDS = 0.2


class Services:
    """A gateway, an ingest, and workers that come and go, in one event loop."""

    def __init__(self, store: Store) -> None:
        self._store, self._config = store, small_config()
        self._workers: dict[str, AsyncExitStack] = {}
        self.hosts: dict[str, EngineHost] = {}
        self.registry, self.log = Registry(store), EventLog(store)

    async def begin_worker(self, name: str) -> None:
        stack = self._workers[name] = AsyncExitStack()
        _, self.hosts[name] = await stack.enter_async_context(
            working(self._config, self._store, name, grace_seconds=GRACE_SECONDS)
        )

    async def end_worker(self, name: str) -> None:
        await self._workers.pop(name).aclose()

    async def end(self) -> None:
        for name in list(self._workers):
            await self.end_worker(name)

    async def events(self) -> list[Alert]:
        async with self.client() as client:
            events = [each.event for each in await client.list_events()]
        return [each for each in events if isinstance(each, Alert)]

    async def is_held_by(self, worker: str) -> bool:
        owner = await self.registry.owner("door")
        return owner is not None and owner.worker == worker

    def client(self) -> AsyncClient:
        return AsyncClient(self._address)

    async def __aenter__(self) -> Services:
        self._others = AsyncExitStack()
        await self.begin_worker("first")
        gateway = await self._others.enter_async_context(
            routing(self._config, self._store, "127.0.0.1:0", grace_seconds=GRACE_SECONDS)
        )
        await self._others.enter_async_context(
            ingesting(self._config, self._store, "ingest", grace_seconds=GRACE_SECONDS)
        )
        self._address = gateway.address
        await gateway.ready.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._others.aclose()
        await self.end()


@pytest_asyncio.fixture
async def services(store: Store) -> AsyncIterator[Services]:
    async with Services(store) as services:
        yield services


async def fire(services: Services) -> Alert:
    """An alert about a stream of the first worker that does not end by itself."""
    async with services.client() as client:
        await client.create_rule(ALWAYS)
        await client.create_stream("door", SOURCE)
    await eventually(services.events)
    return (await services.events())[0]


async def test_an_alert_ends_where_its_stream_is_by_then(services: Services) -> None:
    fired = await fire(services)
    await services.begin_worker("second")
    await services.end_worker("first")
    await eventually(lambda: services.is_held_by("second"))
    async with services.client() as client:
        await eventually(lambda: seen_again(client))
        await client.delete_rule("always")
        await eventually(lambda: has_ended(services))
    assert {each.alert_id for each in await services.events()} == {fired.alert_id}


async def seen_again(client: AsyncClient) -> bool:
    return (await client.get_stream("door")).memory.clips_encoded > 3


async def has_ended(services: Services) -> bool:
    return (await services.events())[0].state is AlertState.EXPIRED


async def test_an_alert_ends_with_its_stream(services: Services) -> None:
    fired = await fire(services)
    async with services.client() as client:
        await client.delete_stream("door")
    await eventually(lambda: has_ended(services))
    assert {each.alert_id for each in await services.events()} == {fired.alert_id}


async def test_a_stream_that_is_removed_and_added_again_begins_anew(services: Services) -> None:
    await fire(services)
    async with services.client() as client:
        await client.delete_stream("door")
        await client.create_stream("door", SOURCE)
        await eventually(lambda: has_fired_again(services))
        assert [each.state for each in await services.events()] == [
            AlertState.FIRING,
            AlertState.EXPIRED,
            AlertState.FIRING,
        ]


async def has_fired_again(services: Services) -> bool:
    return len({each.alert_id for each in await services.events()}) == 2


async def test_an_alert_ends_where_its_rule_is_about_other_streams_by_then(
    services: Services,
) -> None:
    await fire(services)
    await services.end_worker("first")
    async with services.client() as client:
        await client.update_rule(replace(ALWAYS, stream_ids=frozenset({"other"})))
    await services.begin_worker("second")
    await eventually(lambda: has_ended(services))


async def test_a_worker_without_room_keeps_nothing_of_a_stream(services: Services) -> None:
    await fire(services)
    host = services.hosts["first"]
    open_alert = (await services.log.open_alerts())[0]
    for index in range(host.config.engine.max_streams - 1):
        feed = CarriedFeed(1)
        host.engine.add_stream(f"s{index}", "push:", feed, created_utc_seconds=0.0)
    epoch = await services.registry.claim("other", "ghost", "127.0.0.1:1")
    await services.log.publish(replace(open_alert, alert_id="b", stream_id="other"), epoch)
    await services.registry.release("other", epoch)
    async with services.client() as client:
        with pytest.raises(CapacityError):
            await client.create_stream("other", SOURCE)
    assert host.engine.rules._open == {}


async def test_an_alert_ends_where_its_rule_went_while_nobody_held_the_stream(
    services: Services,
) -> None:
    await fire(services)
    await services.end_worker("first")
    async with services.client() as client:
        await client.delete_rule("always")
    await services.begin_worker("second")
    await eventually(lambda: has_ended(services))


async def test_what_is_open_about_a_stream_that_is_none_ends(services: Services) -> None:
    epoch = await services.registry.claim("gone", "ghost", "127.0.0.1:1")
    await services.log.publish(alert(0, stream_id="gone", state=AlertState.FIRING), epoch)
    await services.log.publish(replace(outage(CameraState.LOST), stream_id="gone"), epoch)
    await services.registry.release("gone", epoch)
    await services.begin_worker("second")
    await eventually(lambda: has_ended(services))
    await eventually(lambda: is_empty(services.log.outages()))
    assert await services.log.open_alerts() == []


async def is_empty(found: Awaitable[dict[str, object]]) -> bool:
    return not await found


async def test_who_lost_a_stream_leaves_its_outage_alone(services: Services, store: Store) -> None:
    async with services.client() as client:
        await client.create_stream("door", SOURCE)
    engine = services.hosts["first"].engine
    await store.redis.hset(keys.owner("door"), "worker", "ghost")
    epoch = await services.registry.claim("door", "ghost", "127.0.0.1:1")
    await services.log.publish(outage(CameraState.LOST), epoch)
    await eventually(lambda: found_out(engine))
    await asyncio.sleep(0.5)
    assert await services.log.outages() == {"door": outage(CameraState.LOST)}


async def found_out(engine: StreamEngine) -> bool:
    return not engine.list_streams()
