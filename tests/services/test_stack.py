"""The services as processes of their own, with the command lines of docker-compose.yml."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from streamvlm.alerts import Alert, AlertRule
from streamvlm.client import Client
from streamvlm.errors import StreamVLMError
from streamvlm.evaluate.stack import COMPOSE, ROOT, SERVICES, Stack
from streamvlm.evaluate.webhook_receiver import Receiver, new_secret
from streamvlm.types import AnswerFinished

pytestmark = pytest.mark.slow

SOURCE = "synthetic:moving?realtime=1&seconds=600"
ALWAYS = AlertRule(
    rule_id="always",
    text="Is it?",
    enter_threshold=-1000.0,
    leave_threshold=-2000.0,
    cooldown_seconds=0.0,
)
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Receiver]]:
    secret = new_secret()
    with Receiver(secret) as receiver:
        hook = {
            "name": "test",
            "url": receiver.url,
            "secret_variable": "HOOK_SECRET",
            "allow_private": True,
        }
        stack = Stack(
            folder=tmp_path_factory.mktemp("stack"),
            settings={
                "remember": {"snapshot_seconds": 0.5},
                "notify": {"webhooks": [hook], "retry_seconds": [0.5] * 60},
            },
            environment={"HOOK_SECRET": secret},
        )
        with stack:
            yield stack, receiver


def until_it_works(work: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if work():
                return
        except StreamVLMError:
            pass
        assert time.monotonic() < deadline, "it did not recover in time"
        time.sleep(0.1)


def is_answered(address: str) -> bool:
    with Client(address, timeout_seconds=10.0) as client:
        events = client.ask("door", "Is there a red circle?")
        return any(isinstance(event, AnswerFinished) for event in events)


def is_seen(address: str, since_utc_seconds: float) -> bool:
    with Client(address, timeout_seconds=10.0) as client:
        remembered = client.get_stream("door").memory.remembered
        return remembered is not None and remembered.end.utc_seconds > since_utc_seconds


def test_every_service_tells_its_health(stack: tuple[Stack, Receiver]) -> None:
    for name in SERVICES[1:]:
        with grpc.insecure_channel(stack[0].address_of(name)) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            answer = check(health_pb2.HealthCheckRequest(), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


@pytest.mark.parametrize("name", ["gateway", "notifier", "ingest"])
def test_only_the_worker_loads_torch(stack: tuple[Stack, Receiver], name: str) -> None:
    maps = Path(f"/proc/{stack[0].process_id(name)}/maps").read_text()
    assert "libtorch" not in maps


def test_whatever_is_killed_alerts_go_on_under_one_id(stack: tuple[Stack, Receiver]) -> None:
    running, receiver = stack
    with Client(running.address) as client:
        client.create_stream("door", SOURCE)
        client.create_rule(ALWAYS)
        until_it_works(lambda: receiver.accepted)
        (fired,) = (each.event for each in client.list_events())
    assert isinstance(fired, Alert)
    for name in ("redis", "worker", "ingest", "gateway", "notifier"):
        running.kill(name)
        killed = time.time()
        running.start(name)
        until_it_works(lambda: is_answered(running.address))
        until_it_works(lambda since=killed: is_seen(running.address, since + 1.0))
    with Client(running.address) as client:
        client.delete_rule("always")
        until_it_works(lambda: len(receiver.accepted) >= 2)
        listed = [each.event for each in client.list_events()]
        client.delete_stream("door")
        assert client.list_streams() == []
    alerts = [event for event in listed if isinstance(event, Alert)]
    assert {alert.alert_id for alert in alerts} == {fired.alert_id}
    assert alerts[0].state == "expired"
    assert {each.identity for each in receiver.accepted} == {
        f"{alert.alert_id}.{alert.revision}" for alert in alerts
    }


def test_a_killed_worker_remembers_what_it_saw(stack: tuple[Stack, Receiver]) -> None:
    running, _ = stack
    with Client(running.address) as client:
        client.create_stream("kept", SOURCE)
        until_it_works(lambda: client.get_stream("kept").memory.blocks >= 2)
        time.sleep(1.0)  # as long as two snapshots
        before = client.get_stream("kept").memory
    running.kill("worker")
    running.start("worker")
    with Client(running.address) as client:
        until_it_works(lambda: client.get_stream("kept").memory.blocks > before.blocks)
        after = client.get_stream("kept").memory
        assert before.remembered is not None and after.remembered is not None
        assert after.remembered.start == before.remembered.start
        assert {gap.reason for gap in after.gaps} == {"RESTARTED"}
        client.delete_stream("kept")
    assert not list((running.folder / "snapshots").iterdir())


def test_compose_names_what_is_there() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).is_dir(), (name, source)
        for word in service.get("command", ()):
            if str(word).startswith("/etc/streamvlm/"):
                assert (ROOT / "configs" / Path(word).name).is_file(), (name, word)
        assert name == "redis" or service["read_only"]
