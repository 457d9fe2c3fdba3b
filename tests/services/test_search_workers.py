"""A search reaches the streams of all workers, and says which it could not reach."""

from __future__ import annotations

import pytest

from services import keys
from services.registry import StreamRecord
from services.store import Store
from streamvlm.async_client import AsyncClient
from streamvlm.errors import EngineStoppedError
from tests.services.serving import eventually
from tests.services.test_failover import Services

FILM = "synthetic:moving?seconds=40&height=96&width=128"


async def is_all_seen(client: AsyncClient) -> bool:
    ends = [each.memory.remembered for each in await client.list_streams()]
    return all(end is not None and end.end.pts_seconds >= 40 for end in ends)


async def test_all_workers_are_searched(store: Store) -> None:
    async with Services(store) as services, services.client() as client:
        await client.create_stream("door", FILM)
        await services.begin_worker("second")
        await client.create_stream("hall", FILM)
        owners = [await services.registry.owner(name) for name in ("door", "hall")]
        assert {owner.worker for owner in owners if owner} == {"first", "second"}
        await eventually(lambda: is_all_seen(client))

        both = await client.search("a red van", most=100)
        assert sorted(both.searched) == ["door", "hall"] and both.unsearched == ()
        scores = [each.score for each in both.moments]
        assert scores == sorted(scores, reverse=True)
        for name in ("door", "hall"):
            alone = await client.search("a red van", [name], most=100)
            assert alone.moments == tuple(each for each in both.moments if each.stream_id == name)
        assert await client.search("a red van", ["door", "hall"], most=100) == both


async def test_a_stream_that_nobody_holds_is_named(store: Store) -> None:
    async with Services(store) as services, services.client() as client:
        await client.create_stream("door", FILM)
        await eventually(lambda: is_all_seen(client))
        # Its ingest is gone and its lease is not over, so nobody carries it to a worker.
        await services.registry.lease(keys.carrier("ghost"), "gone")
        await services.registry.add_stream(
            StreamRecord(stream_id="ghost", source=FILM, created_utc_seconds=1.0)
        )
        found = await client.search("a red van")
        assert found.moments and found.searched == ("door",) and found.unsearched == ("ghost",)
        found = await client.search("a red van", ["door", "ghost"])
        assert found.searched == ("door",) and found.unsearched == ("ghost",)
        with pytest.raises(EngineStoppedError, match="no worker tells of stream 'ghost' now"):
            await client.search("a red van", ["ghost"])
