from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from services import gateway
from services.gateway import SERVICES
from services.run import Service, run
from streamvlm.client import Client, PushedFrame
from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.errors import (
    AddressInUseError,
    CapacityError,
    CheckpointError,
    ConfigError,
    EngineStoppedError,
    StreamVLMError,
)
from streamvlm.looks import AlertListener
from streamvlm.types import AnswerFinished, Sampling
from tests.services.serving import Serving, frames, push_stream, small_config

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(serving: Serving) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serving.address) as channel:
        yield channel


def test_reflection_lists_and_describes_the_services(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {*SERVICES, "grpc.health.v1.Health"} <= set(database.get_services())
    file = database.FindFileContainingSymbol("streamvlm.v1.QueryService")
    assert file.name == "streamvlm/v1/query_service.proto"


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_each_service_tells_its_health(channel: grpc.Channel, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status == SERVING


def test_nothing_is_served_before_the_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    is_loading, may_load = threading.Event(), threading.Event()
    load = StreamEngine.from_config

    def load_late(config: Config, on_alert: AlertListener, folder: Path) -> StreamEngine:
        is_loading.set()
        may_load.wait(20)
        return load(config, on_alert, folder)

    monkeypatch.setattr(StreamEngine, "from_config", load_late)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with grpc.insecure_channel(address) as channel:
        starting = Serving(address=address)
        starting.begin()
        assert is_loading.wait(20)
        with Client(address) as client, pytest.raises(EngineStoppedError, match="ready"):
            client.create_stream("door", "push:")
        watched = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICES[1]), timeout=20
        )
        assert next(watched).status == NOT_SERVING
        may_load.set()
        assert next(watched).status == SERVING
        assert starting.address == address
        stopping = threading.Thread(target=starting.stop)
        stopping.start()
        assert next(watched).status == NOT_SERVING
        watched.cancel()
        stopping.join()


def test_a_port_in_use_is_named(serving: Serving, capfd: pytest.CaptureFixture[str]) -> None:
    problem = f"another process listens on {serving.address}"
    with pytest.raises(AddressInUseError, match=problem), Serving(address=serving.address):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("address", ["", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":50051"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"), Serving(address=address):
        pass


def test_a_host_of_another_machine_is_refused() -> None:
    problem = r"cannot listen on 192\.0\.2\.1:0"
    with pytest.raises(ConfigError, match=problem), Serving(address="192.0.2.1:0"):
        pass


def test_a_model_that_cannot_be_loaded_ends_the_start() -> None:
    config = Config.model_validate({"vlm": {"checkpoint": "random:nothing"}})
    with pytest.raises(CheckpointError, match="random:nothing"), Serving(config):
        pass


def test_a_camera_that_is_being_opened_does_not_hold_up_the_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Serving() as serving:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        with Client(serving.address) as client, ThreadPoolExecutor(1) as pool:
            creating = pool.submit(client.create_stream, "cam", url)
            connection, _ = silent.accept()
            began_seconds = time.monotonic()
            serving.stop()
            assert time.monotonic() - began_seconds < 8.0
            connection.close()
            with pytest.raises(StreamVLMError):
                creating.result(10)
    assert "feed cam" not in {thread.name for thread in threading.enumerate()}


def test_a_pusher_hears_that_the_service_stops() -> None:
    with Serving() as serving, Client(serving.address) as client:
        client.create_stream("pushed", "push:")

        def pushed() -> Iterator[PushedFrame]:
            yield from frames(2)
            serving.stop()
            yield from frames(1, first=2)

        with pytest.raises(EngineStoppedError, match="stopping"):
            list(client.push_frames("pushed", pushed()))


def test_who_is_idle_does_not_hold_up_the_stop() -> None:
    with Serving(grace_seconds=60.0) as serving, Client(serving.address) as client:
        client.create_stream("pushed", "push:")
        with grpc.insecure_channel(serving.address) as channel:
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == SERVING
            is_over = threading.Event()

            def idle() -> Iterator[PushedFrame]:
                yield from frames(1)
                is_over.wait(30)

            acks = client.push_frames("pushed", idle())
            next(acks)
            began_seconds = time.monotonic()
            serving.stop()
            assert time.monotonic() - began_seconds < 5.0
            is_over.set()
            with pytest.raises(EngineStoppedError):
                next(acks)
            assert next(watched).status == NOT_SERVING
            watched.cancel()


def test_an_answer_has_the_time_of_grace() -> None:
    with Serving(grace_seconds=60.0) as serving, Client(serving.address) as client:
        push_stream(client, "pushed")
        answer = client.ask("pushed", "what?", Sampling(max_new_tokens=200))
        next(answer)
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        *_, finished = answer
        stopping.join()
        assert isinstance(finished, AnswerFinished) and finished.usage.answer_tokens > 0


def test_work_with_a_request_id_ends_with_the_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Serving() as serving:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        with Client(serving.address) as client, ThreadPoolExecutor(1) as pool:
            creating = pool.submit(client.create_stream, "cam", url, request_id="1")
            connection, _ = silent.accept()
            began_seconds = time.monotonic()
            serving.stop()
            assert time.monotonic() - began_seconds < 5.0
            connection.close()
            with pytest.raises(StreamVLMError):
                creating.result(10)
    assert "feed cam" not in {thread.name for thread in threading.enumerate()}


def test_probes_get_through_when_no_more_calls_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MAX_CALLS", 2)
    with Serving() as serving, Client(serving.address) as client:
        is_over = threading.Event()

        def idle() -> Iterator[PushedFrame]:
            yield from frames(1)
            is_over.wait(30)

        calls = []
        for name in ("a", "b"):
            client.create_stream(name, "push:")
            calls.append(client.push_frames(name, idle()))
            next(calls[-1])
        with pytest.raises(CapacityError, match="2 calls go on"):
            client.list_streams()
        with grpc.insecure_channel(serving.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            assert check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
        is_over.set()
        for call in calls:
            assert list(call) == []
        assert len(client.list_streams()) == 2


def test_an_engine_that_fails_ends_the_service(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def fail(engine: StreamEngine) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(StreamEngine, "run", fail)
    at_interrupt = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(StreamVLMError, match="the engine failed"):
            run(
                Service.ALL,
                small_config(),
                address="127.0.0.1:0",
                folder=tmp_path,
                redis_url="",
                name="test",
            )
    finally:
        signal.signal(signal.SIGINT, at_interrupt)
    assert "the device is gone" in caplog.text


def test_stopping_ends_all_threads() -> None:
    before = set(threading.enumerate())
    with Serving() as serving, Client(serving.address) as client:
        client.create_stream("door", "synthetic:moving?realtime=1&seconds=600")
    left = {
        thread.name
        for thread in set(threading.enumerate()) - before
        if thread.name.startswith(("engine", "feed", "opening", "closing", "pushing", "serving"))
    }
    assert left == set()
