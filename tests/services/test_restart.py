"""What a stream remembers outlives its service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from shutil import copytree

import pytest_asyncio

from services.gateway import routing
from services.ingest import ingesting
from services.registry import Registry
from services.store import Store
from services.worker import working
from streamvlm.async_client import AsyncClient
from streamvlm.client import Client
from streamvlm.config import Config
from streamvlm.gaps import RESTARTED
from streamvlm.types import AnswerFinished, AnswerStarted, Sampling
from tests.services.serving import Serving, eventually, frames, push_stream, small_config, until

GRACE_SECONDS = 0.2


def config() -> Config:
    """Each clip is a block at once: nothing is lost by an end in peace."""
    small = small_config().model_dump()
    small["reduce"] = {"name": "all"}
    small["remember"] |= {"segment_clips": 1, "budget_bytes": 2**26, "snapshot_seconds": 0.05}
    small["respond"] |= {"fresh_clips": 0}
    return Config.model_validate(small)


def answer(client: Client) -> tuple[AnswerStarted, str]:
    started, *_, finished = client.ask("door", "What was there?", Sampling(max_new_tokens=8))
    assert isinstance(started, AnswerStarted) and isinstance(finished, AnswerFinished)
    return started, finished.text


def test_a_stream_answers_the_same_behind_a_restart_and_goes_on(tmp_path: Path) -> None:
    with Serving(config(), folder=tmp_path) as serving, Client(serving.address) as client:
        push_stream(client, "door")
        started, text = answer(client)
        assert len(started.evidence) == 6
    with Serving(config(), folder=tmp_path) as serving, Client(serving.address) as client:
        until(lambda: client.get_stream("door").memory.blocks == 6)
        again, text_again = answer(client)
        assert (text_again, again.evidence) == (text, started.evidence)
        until(lambda: not client.get_stream("door").feed.reason)
        list(client.push_frames("door", frames(4, first=120)))
        until(lambda: client.get_stream("door").memory.clips_encoded == 8)
        memory = client.get_stream("door").memory
        (gap,) = memory.gaps
        assert (gap.reason, gap.interval.start.pts_seconds) == (RESTARTED, 6.0)
        assert gap.interval.end.pts_seconds == 60.0
        assert memory.remembered is not None and memory.remembered.end.pts_seconds == 62.0
        client.delete_stream("door")
        assert not list((tmp_path / "snapshots").iterdir()), "what is removed is erased"
        push_stream(client, "door", 4)
        assert client.get_stream("door").memory.blocks == 2


def test_another_model_begins_anew(tmp_path: Path) -> None:
    with Serving(config(), folder=tmp_path) as serving, Client(serving.address) as client:
        push_stream(client, "door")
    other = config().model_dump()
    other["vlm"] |= {"dtype": "bfloat16"}
    with Serving(Config.model_validate(other), folder=tmp_path) as serving:
        client = Client(serving.address)
        with client:
            until(lambda: client.get_stream("door").feed.reason != "WORKER_LOST")
            assert client.get_stream("door").memory.blocks == 0


def test_what_was_removed_while_nobody_could_be_told_does_not_come_back(tmp_path: Path) -> None:
    """As a worker that was down leaves it: the snapshot of before the removal is still there."""
    kept, copy = tmp_path / "snapshots" / "stream-door", tmp_path / "copy"
    with Serving(config(), folder=tmp_path) as serving, Client(serving.address) as client:
        push_stream(client, "door")
    copytree(kept, copy)
    with Serving(config(), folder=tmp_path) as serving, Client(serving.address) as client:
        until(lambda: client.get_stream("door").memory.blocks == 6)
        client.delete_stream("door")
        copytree(copy, kept)
        push_stream(client, "door", 4)
        assert client.get_stream("door").memory.blocks == 2
        client.delete_stream("door")
    copytree(copy, kept)
    with Serving(config(), folder=tmp_path):
        until(lambda: not kept.exists())


class Workers:
    """Two workers on one machine, one ingest that outlives them."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._workers: dict[str, AsyncExitStack] = {}
        self.registry = Registry(store)

    async def begin(self, name: str) -> None:
        stack = self._workers[name] = AsyncExitStack()
        await stack.enter_async_context(
            working(config(), self._store, name, self._folder, grace_seconds=GRACE_SECONDS)
        )

    async def end(self, name: str) -> None:
        await self._workers.pop(name).aclose()


@pytest_asyncio.fixture
async def workers(store: Store, tmp_path: Path) -> AsyncIterator[tuple[Workers, AsyncClient]]:
    workers = Workers(store, tmp_path)
    await workers.begin("first")
    settings = {"grace_seconds": GRACE_SECONDS}
    async with (
        routing(config(), store, "127.0.0.1:0", **settings) as gateway,
        ingesting(config(), store, "ingest", **settings),
        AsyncClient(gateway.address) as client,
    ):
        await gateway.ready.wait()
        yield workers, client
    for name in list(workers._workers):
        await workers.end(name)


async def test_another_worker_of_the_machine_takes_over_what_is_remembered(
    workers: tuple[Workers, AsyncClient],
) -> None:
    both, client = workers
    await client.create_stream("door", "synthetic:moving?realtime=1&seconds=600")

    async def remembers(num_blocks: int) -> bool:
        return (await client.get_stream("door")).memory.blocks >= num_blocks

    await eventually(lambda: remembers(3))
    await both.begin("second")
    await both.end("first")
    await eventually(lambda: remembers(5))
    owner = await both.registry.owner("door")
    assert owner is not None and owner.worker == "second"
    memory = (await client.get_stream("door")).memory
    assert memory.remembered is not None and memory.remembered.start.pts_seconds < 1.0
    assert {gap.reason for gap in memory.gaps} <= {RESTARTED}
    assert memory.clips_encoded >= 5
