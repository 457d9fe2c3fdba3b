"""Leases, epochs and ownership in a real Redis."""

from __future__ import annotations

import asyncio
import json

import pytest

from services import keys, registry
from services.registry import Registry, StreamRecord, Worker
from services.store import Store
from streamvlm.errors import StreamExistsError
from streamvlm.types import GridRule

RULE = GridRule(cell_pixels=32, min_pixels=4096, max_pixels=65536)


async def test_a_second_worker_cannot_claim_a_held_stream(store: Store) -> None:
    known = Registry(store)
    first = await known.claim("door", "one", "127.0.0.1:1")
    with pytest.raises(StreamExistsError, match="held by worker 'one'"):
        await known.claim("door", "two", "127.0.0.1:2")
    owner = await known.owner("door")
    assert owner and (owner.worker, owner.address, owner.epoch) == ("one", "127.0.0.1:1", first)


async def test_a_worker_that_came_again_takes_over_from_itself(store: Store) -> None:
    known = Registry(store)
    first = await known.claim("door", "one", "127.0.0.1:1")
    second = await known.claim("door", "one", "127.0.0.1:2")
    assert second > first
    assert not await known.renew("door", "one", "127.0.0.1:1", first)
    assert await known.renew("door", "one", "127.0.0.1:2", second)


async def test_a_silent_worker_loses_its_streams(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_LEASE_MS", 50)
    known = Registry(store)
    first = await known.claim("door", "one", "127.0.0.1:1")
    await asyncio.sleep(0.1)
    assert await known.owner("door") is None
    await known.claim("door", "two", "127.0.0.1:2")
    assert not await known.renew("door", "one", "127.0.0.1:1", first)


async def test_what_redis_forgot_is_held_again(store: Store) -> None:
    known = Registry(store)
    epoch = await known.claim("door", "one", "127.0.0.1:1")
    await store.redis.flushall()
    assert await known.renew("door", "one", "127.0.0.1:1", epoch)
    owner = await known.owner("door")
    assert owner and owner.epoch == epoch


async def test_letting_go_of_an_old_claim_changes_nothing(store: Store) -> None:
    known = Registry(store)
    first = await known.claim("door", "one", "127.0.0.1:1")
    await known.claim("door", "one", "127.0.0.1:2")
    await known.release("door", first)
    assert await known.owner("door") is not None


async def test_a_lease_is_one_at_a_time(store: Store) -> None:
    known = Registry(store)
    assert await known.lease(keys.carrier("door"), "a")
    assert not await known.lease(keys.carrier("door"), "b")
    await known.unlease(keys.carrier("door"), "b")
    assert await known.carrier("door") == "a"
    await known.unlease(keys.carrier("door"), "a")
    assert await known.lease(keys.carrier("door"), "b")


async def test_who_is_there_tells_of_itself(store: Store) -> None:
    known = Registry(store)
    worker = Worker(name="w", address="127.0.0.1:1", rule=RULE, num_streams=2, max_streams=16)
    await known.announce_worker(worker)
    await known.announce_ingest("i", "127.0.0.1:2")
    assert await known.workers() == {"w": worker}
    assert await known.ingests() == {"i": "127.0.0.1:2"}
    await known.withdraw(keys.WORKERS + "w")
    assert await known.workers() == {}


async def test_streams_are_added_once_and_removed(store: Store) -> None:
    known = Registry(store)
    record = StreamRecord(
        stream_id="door",
        source="rtsp://u:p@h/a",
        created_utc_seconds=1.5,
        time_zone="Europe/Berlin",
    )
    await known.add_stream(record)
    with pytest.raises(StreamExistsError):
        await known.add_stream(
            StreamRecord(stream_id="door", source="push:", created_utc_seconds=2)
        )
    assert await known.streams() == {"door": record}
    assert await known.removed_at("door") == 0
    assert await known.remove_stream("door") and not await known.remove_stream("door")
    assert await known.removed_at("door") > 0
    assert not await known.remove_stream("other") and await known.removed_at("other") == 0


async def test_a_stream_of_a_service_before_has_the_zone_that_it_had(store: Store) -> None:
    known = {"stream_id": "door", "source": "push:", "created_utc_seconds": 1.5}
    await store.redis.hset(keys.STREAMS, "door", json.dumps(known))
    assert (await Registry(store).streams())["door"].time_zone == "UTC"
