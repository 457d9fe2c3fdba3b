"""All services in one process: what outlives them, and what they do without Redis."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from services import carrier
from services.redis_server import redis_server
from services.store import connected
from streamvlm.alerts import AlertRule, AlertState
from streamvlm.client import Client
from streamvlm.errors import MetadataError
from streamvlm.types import AnswerFinished, Sampling, SourceState
from tests.services.serving import Serving, frames, push_stream, until

ALWAYS = AlertRule(
    rule_id="always", text="Is it?", enter_threshold=-1000.0, leave_threshold=-2000.0
)


def redis_of(folder: Path) -> int:
    """The process of the server that keeps its data there."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cwd").readlink() == folder:
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"no server keeps its data in {folder}")


def test_streams_rules_and_alerts_outlive_the_service(tmp_path: Path) -> None:
    with Serving(folder=tmp_path) as serving, Client(serving.address) as client:
        client.create_rule(ALWAYS)
        push_stream(client, "door")
        until(lambda: client.list_events())
        (before,) = (each.event for each in client.list_events())
        created = client.get_stream("door").created_utc_seconds
    with Serving(folder=tmp_path) as serving, Client(serving.address) as client:
        assert client.list_rules() == [ALWAYS]
        until(lambda: client.get_stream("door").feed.state is not SourceState.RECONNECTING)
        assert client.get_stream("door").created_utc_seconds == pytest.approx(created)
        until(lambda: not client.get_stream("door").feed.reason)
        list(client.push_frames("door", frames(8)))
        until(lambda: client.get_stream("door").memory.clips_encoded >= 4)
        client.delete_rule("always")
        until(lambda: client.list_events()[0].event.state is AlertState.EXPIRED)
        (last, first) = (each.event for each in client.list_events())
    assert first == before
    assert last.alert_id == first.alert_id and last.revision == first.revision + 1


def test_a_folder_is_one_services(tmp_path: Path) -> None:
    with (
        Serving(folder=tmp_path),
        pytest.raises(MetadataError, match="another streamvlm"),
        Serving(folder=tmp_path),
    ):
        pass


def test_without_redis_streams_and_answers_go_on(tmp_path: Path) -> None:
    with Serving(folder=tmp_path) as serving, Client(serving.address) as client:
        push_stream(client, "door")
        process = redis_of(tmp_path)
        os.kill(process, signal.SIGSTOP)
        try:
            *_, finished = client.ask("door", "what?", Sampling(max_new_tokens=3))
            assert isinstance(finished, AnswerFinished)
            assert client.get_stream("door").memory.clips_encoded == 6
            with pytest.raises(MetadataError):
                client.create_rule(ALWAYS)
        finally:
            os.kill(process, signal.SIGCONT)
        until(lambda: client.list_rules() is not None)
        client.create_rule(ALWAYS)
        until(lambda: client.list_events())


async def test_a_server_whose_owner_was_killed_is_taken_over_from(tmp_path: Path) -> None:
    async with redis_server(tmp_path) as url, connected(url) as store:
        await store.redis.set("kept", "1")
        first = redis_of(tmp_path)
        (tmp_path / "lock").unlink()  # as if the owner were gone
        async with redis_server(tmp_path) as url, connected(url) as later:
            assert await later.redis.get("kept") == b"1"
            assert redis_of(tmp_path) != first


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MetadataError, match="cannot keep data in"):
        async with redis_server(tmp_path / "file"):
            pass
    with pytest.raises(MetadataError, match="too long"):
        async with redis_server(tmp_path / ("x" * 100)):
            pass


def test_a_file_is_read_once_whatever_ingest_does() -> None:
    half = carrier._HalfRead()
    assert half.take() is None
    assert half.status().state is SourceState.FAILED
