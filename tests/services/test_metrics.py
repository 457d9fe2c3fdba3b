from __future__ import annotations

import httpx
import pytest

from services.metrics import exporting
from streamvlm.client import Client
from streamvlm.errors import AddressInUseError, ConfigError, StreamNotFoundError
from streamvlm.evaluate.stack import free_port
from tests.services.serving import Serving, push_stream


def test_a_service_tells_of_its_streams_and_calls(serving: Serving, client: Client) -> None:
    push_stream(client, "door")
    with pytest.raises(StreamNotFoundError):
        client.get_stream("nowhere")
    address = f"127.0.0.1:{free_port()}"
    with exporting(address):
        told = httpx.get(f"http://{address}/metrics", trust_env=False).text
    assert 'streamvlm_clips_encoded_total{stream="door"} 6.0' in told
    assert 'streamvlm_reduction_bytes{stream="door"}' in told
    assert 'streamvlm_memory_budget_bytes{stream="door"}' in told
    assert 'streamvlm_calls_total{code="NOT_FOUND",method="GetStream"}' in told
    assert 'streamvlm_calls_total{code="OK",method="CreateStream"}' in told
    assert "streamvlm_outbox_events 0.0" in told
    assert 'streamvlm_snapshot_bytes{stream="door"} 0.0' in told
    assert "streamvlm_snapshot_failures_total 0.0" in told


def test_an_address_that_is_none_or_taken_is_named() -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"), exporting("here"):
        pass
    address = f"127.0.0.1:{free_port()}"
    with exporting(address), pytest.raises(AddressInUseError, match=address), exporting(address):
        pass
