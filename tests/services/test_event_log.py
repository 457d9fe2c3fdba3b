"""Events in a real Redis: numbered, written once, fenced, read from anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services import keys
from services import outbox as outbox_module
from services.event_log import EventLog
from services.outbox import Outbox
from services.registry import Registry
from services.store import Store
from streamvlm.alerts import Alert, AlertState, CameraChange, CameraState
from streamvlm.errors import FencedError, MetadataError
from streamvlm.types import Interval
from streamvlm.wire.alerts import alert_to_proto, event_from_proto
from tests.conftest import at


def alert(revision: int, **changed: Any) -> Alert:
    """One of many."""
    fields: dict[str, Any] = {
        "alert_id": "a",
        "revision": revision,
        "state": AlertState.UPDATED,
        "rule_id": "r",
        "stream_id": "door",
        "began": at(0.0),
        "observed": at(float(revision)),
        "score": 1.0,
        "highest_score": 1.0,
    }
    return Alert(**(fields | changed))


def outage(state: CameraState) -> CameraChange:
    return CameraChange(
        outage_id="o",
        stream_id="door",
        state=state,
        blind=Interval(start=at(0.0), end=at(5.0)),
        reason="SOURCE_LOST",
    )


async def test_events_are_numbered_and_read_in_their_order(store: Store) -> None:
    log = EventLog(store)
    assert await log.oldest() == 1 and await log.newest() == 0
    for revision in range(3):
        await log.publish(alert(revision), epoch=0)
    found = await log.after(1, 0.1)
    assert [each.number for each in found] == [2, 3]
    assert [event_from_proto(each.event) for each in found] == [alert(1), alert(2)]
    assert [each.number for each in await log.before(None, 2)] == [3, 2]
    assert [each.number for each in await log.before(3, 5)] == [2, 1]
    assert await log.before(1, 5) == []
    assert await log.after(3, 0.05) == []


async def test_a_reader_waits_for_what_comes(store: Store) -> None:
    log = EventLog(store)
    waiting = asyncio.create_task(log.after(0, 20))
    await asyncio.sleep(0.05)
    await log.publish(alert(0), epoch=0)
    assert [each.number for each in await waiting] == [1]


async def test_a_revision_is_kept_once(store: Store) -> None:
    log = EventLog(store)
    for _ in range(2):
        await log.publish(alert(0), epoch=0)
        await log.publish(outage(CameraState.LOST), epoch=0)
    assert await log.newest() == 2


async def test_what_has_not_ended_is_known(store: Store) -> None:
    log = EventLog(store)
    await log.publish(alert(0), epoch=0)
    await log.publish(outage(CameraState.LOST), epoch=0)
    assert await log.open_alerts() == [alert(0)]
    assert await log.outages() == {"door": outage(CameraState.LOST)}
    await log.publish(alert(1, state=AlertState.RESOLVED), epoch=0)
    await log.publish(outage(CameraState.RECOVERED), epoch=0)
    assert await log.open_alerts() == [] and await log.outages() == {}


async def test_who_lost_a_stream_may_not_write_about_it(store: Store) -> None:
    log, registry = EventLog(store), Registry(store)
    first = await registry.claim("door", "one", "127.0.0.1:1")
    await log.publish(alert(0), first)
    await registry.release("door", first)
    second = await registry.claim("door", "two", "127.0.0.1:2")
    with pytest.raises(FencedError, match="door"):
        await log.publish(alert(1), first)
    await log.publish(alert(1), second)
    assert await log.newest() == 2


async def test_the_oldest_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_EVENTS", 100)
    log = EventLog(store)
    for revision in range(400):
        await log.publish(alert(revision), epoch=0)
    oldest = await log.oldest()
    assert 200 <= oldest <= 301, "redis cuts whole nodes of 100 entries"
    assert (await log.after(0, 0.1))[0].number == oldest


async def test_an_alert_is_acknowledged_once(store: Store) -> None:
    log = EventLog(store)
    assert await log.acknowledge("a", "Ada") is None
    await log.publish(alert(0), epoch=0)
    first = await log.acknowledge("a", "Ada")
    assert first is not None and first.acknowledged_by == "Ada"
    assert await log.acknowledge("a", "Bob") == first
    assert await log.acknowledgements(["a", "b"]) == {"a": first}


async def test_a_delivery_is_heard_of(store: Store) -> None:
    log = EventLog(store)
    hearing = asyncio.create_task(log.deliveries("$"))
    await asyncio.sleep(0.05)
    await log.note_delivery(alert_to_proto(alert(0)))
    _, pairs = await hearing
    assert pairs == [("r", "door")]


@pytest.mark.parametrize(
    "trouble", [("CONFIG", "SET", "maxmemory", "1"), ("REPLICAOF", "127.0.0.1", "1")]
)
async def test_a_redis_that_is_full_or_read_only_changes_nothing(
    store: Store, trouble: tuple[str, ...]
) -> None:
    log, registry = EventLog(store), Registry(store)
    outbox = Outbox(log, lambda _: 0)
    writing = asyncio.create_task(outbox.run())
    await log.publish(alert(0), epoch=0)
    await store.redis.execute_command(*trouble)
    with pytest.raises(MetadataError, match="Redis"):
        await registry.claim("door", "one", "127.0.0.1:1")
    outbox.put(alert(1))
    outbox.put(alert(2))
    await asyncio.sleep(0.3)
    assert len(outbox) == 2 and await log.newest() == 1
    await store.redis.execute_command("CONFIG", "SET", "maxmemory", "0")
    await store.redis.execute_command("REPLICAOF", "NO", "ONE")
    await outbox.drain(10.0)
    assert len(outbox) == 0 and await log.newest() == 3
    writing.cancel()


async def test_an_outbox_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_WAITING", 2)
    outbox = Outbox(EventLog(store), lambda _: 0)
    for revision in range(5):
        outbox.put(alert(revision))
    assert len(outbox) == 2 and outbox.num_lost == 3


async def test_what_a_fenced_worker_says_is_dropped_and_the_rest_goes_on(store: Store) -> None:
    registry, epochs = Registry(store), {"door": 0, "hall": 0}
    outbox = Outbox(EventLog(store), epochs.__getitem__)
    await registry.claim("door", "other", "127.0.0.1:1")
    outbox.put(alert(0))
    outbox.put(alert(0, alert_id="b", stream_id="hall"))
    writing = asyncio.create_task(outbox.run())
    await outbox.drain(10.0)
    writing.cancel()
    (event,) = await EventLog(store).before(None, 10)
    assert event.event.alert.stream_id == "hall"
