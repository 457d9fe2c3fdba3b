"""One service for each test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamvlm.client import Client
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
