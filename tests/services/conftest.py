"""One service for each test module."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from services import notifier
from services.redis_server import redis_server
from services.store import Store, connected
from streamvlm.client import Client
from tests.services.hooks import SECRET
from tests.services.serving import Serving


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


@pytest.fixture
def client(serving: Serving) -> Iterator[Client]:
    """A client of the module's service, which watches nothing before and after."""
    with Client(serving.address) as client:
        yield client
        for status in client.list_streams():
            client.delete_stream(status.stream_id)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A real Redis with nothing in it."""
    async with redis_server(tmp_path / "redis") as url, connected(url) as store:
        yield store


@pytest.fixture
def hook_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """What signs for the webhook of `hooks`."""
    monkeypatch.setenv("HOOK_SECRET", SECRET)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notifier that looks often whether somebody wants something of it."""
    monkeypatch.setattr(notifier, "WAIT_SECONDS", 0.05)
