from __future__ import annotations

import httpx
import pytest

from services.metrics import exporting, stream_metrics
from streamvlm.client import Client
from streamvlm.errors import AddressInUseError, ConfigError, StreamNotFoundError
from streamvlm.evaluate.stack import free_port
from streamvlm.types import FeedStatus, MemoryStatus, SourceState, StreamStatus, Tier, TierStatus
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
    assert 'streamvlm_lost_blocks_total{stream="door"} 0.0' in told
    assert 'streamvlm_calls_total{code="NOT_FOUND",method="GetStream"}' in told
    assert 'streamvlm_calls_total{code="OK",method="CreateStream"}' in told
    assert "streamvlm_outbox_events 0.0" in told
    assert 'streamvlm_snapshot_bytes{stream="door"} 0.0' in told
    assert "streamvlm_snapshot_failures_total 0.0" in told


def test_every_tier_tells_what_it_holds() -> None:
    host = TierStatus(tier=Tier.HOST, form="int8", blocks=3, num_tokens=90, num_bytes=700)
    status = StreamStatus(
        stream_id="door",
        source="push://",
        created_utc_seconds=0.0,
        feed=FeedStatus(state=SourceState.LIVE),
        memory=MemoryStatus(tiers=(host,)),
    )
    samples = {
        sample.name: (sample.labels, sample.value)
        for metric in stream_metrics([status])
        for sample in metric.samples
    }
    labels = {"stream": "door", "tier": "host", "form": "int8"}
    assert samples["streamvlm_tier_blocks"] == (labels, 3)
    assert samples["streamvlm_tier_tokens"] == (labels, 90)
    assert samples["streamvlm_tier_bytes"] == (labels, 700)


def test_an_address_that_is_none_or_taken_is_named() -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"), exporting("here"):
        pass
    address = f"127.0.0.1:{free_port()}"
    with exporting(address), pytest.raises(AddressInUseError, match=address), exporting(address):
        pass
