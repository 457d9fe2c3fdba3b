from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest

from streamvlm.client import Client
from streamvlm.config import Config
from streamvlm.errors import (
    CapacityError,
    InvalidInputError,
    SourceAddressError,
    SourceAuthError,
    SourceFormatError,
    SourceNotFoundError,
    SourceUnreachableError,
    StreamExistsError,
    StreamNotFoundError,
    StreamVLMError,
)
from streamvlm.evaluate.rtsp_camera import RtspCamera
from streamvlm.types import SourceState
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceStub
from tests.services.serving import Serving, frames, small_config

REALTIME = "synthetic:moving?seconds=600&height=96&width=128&realtime=1"
NOBODY = "rtsp://admin:hunter2@127.0.0.1:1/live"


@pytest.fixture(scope="module")
def camera() -> Iterator[RtspCamera]:
    with RtspCamera(credentials="admin:hunter2", sizes=((96, 128),)) as camera:
        yield camera


def feed_threads(stream_id: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"feed {stream_id}"]


def num_decoders() -> int:
    children = psutil.Process().children(recursive=True)
    return sum("streamvlm.capture.decoder" in " ".join(_command(child)) for child in children)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_stream_has_the_zone_of_its_camera(client: Client, serving: Serving) -> None:
    created = client.create_stream("door", "push:", time_zone="Asia/Kathmandu")
    assert created.time_zone == "Asia/Kathmandu"
    client.create_stream("gate", "push:")
    assert [(each.stream_id, each.time_zone) for each in client.list_streams()] == [
        ("door", "Asia/Kathmandu"),
        ("gate", "UTC"),
    ]
    with pytest.raises(InvalidInputError, match="time_zone = 'Mars'; allowed: an IANA name"):
        client.create_stream("wall", "push:", time_zone="Mars")
    with grpc.insecure_channel(serving.address) as channel, pytest.raises(grpc.RpcError) as raised:
        request = pb.CreateStreamRequest(stream_id="wall", source="push:", time_zone="../UTC")
        StreamServiceStub(channel).CreateStream(request)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(client.list_streams()) == 2


def test_a_stream_lives_from_create_to_delete(client: Client) -> None:
    created = client.create_stream("door", REALTIME)
    assert created.stream_id == "door"
    assert created.feed.state is SourceState.LIVE
    assert client.get_stream("door").created_utc_seconds == created.created_utc_seconds
    assert [status.stream_id for status in client.list_streams()] == ["door"]
    client.delete_stream("door")
    assert client.list_streams() == []
    assert feed_threads("door") == []


def test_listings_come_in_pages(client: Client, serving: Serving) -> None:
    names = [f"s{index}" for index in range(5)]
    for name in names:
        client.create_stream(name, "push:")
    with grpc.insecure_channel(serving.address) as channel:
        stub, found, token = StreamServiceStub(channel), [], None
        while token != "":
            request = pb.ListStreamsRequest(page_size=2, page_token=token or "")
            page = stub.ListStreams(request, timeout=10)
            assert len(page.streams) <= 2
            found += [stream.stream_id for stream in page.streams]
            token = page.next_page_token
        assert found == names
        with pytest.raises(grpc.RpcError) as raised:
            stub.ListStreams(pb.ListStreamsRequest(page_size=-1), timeout=10)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("stream_id", ["", "Door", "-door", "a/b", "a b", "x" * 64, "tür", "a\n"])
def test_a_bad_stream_id_is_named_with_what_is_allowed(client: Client, stream_id: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        client.create_stream(stream_id, "push:")
    assert repr(stream_id) in str(raised.value)
    assert "[a-z0-9][a-z0-9_-]{0,62}" in str(raised.value)


@pytest.mark.parametrize("character", ["x", "ü", "\N{MOVIE CAMERA}"])
def test_a_huge_request_is_refused_as_clearly_as_a_small_one(
    client: Client, character: str
) -> None:
    with pytest.raises(InvalidInputError, match="cannot be a stream id"):
        client.create_stream(character * 100_000, "push:")
    with pytest.raises(SourceAddressError, match="allowed: rtsp"):
        client.create_stream("door", "http://" + character * 100_000)
    with pytest.raises(InvalidInputError, match="cannot be a stream id"):
        client.get_stream(character * 100_000)


def test_unknown_streams_are_not_found(client: Client) -> None:
    for call in (client.get_stream, client.delete_stream):
        with pytest.raises(StreamNotFoundError, match="no stream 'nowhere'"):
            call("nowhere")


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"just text, no video\n" * 50, SourceFormatError), (b"", SourceFormatError)],
)
def test_a_file_that_is_no_video_is_refused(
    client: Client, tmp_path: Path, content: bytes, kind: type[StreamVLMError]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(kind, match=r"clip\.mp4"):
        client.create_stream("clip", str(path))
    assert client.list_streams() == [] and feed_threads("clip") == []


def test_a_file_that_is_missing_is_not_found(client: Client, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"gone\.mp4"):
        client.create_stream("gone", str(tmp_path / "gone.mp4"))


@pytest.mark.parametrize("source", ["", "http://host/x", "rtsp://", "synthetic:nothing?x=1"])
def test_what_is_no_address_is_refused(client: Client, source: str) -> None:
    with pytest.raises((SourceAddressError, SourceNotFoundError), match="allowed"):
        client.create_stream("door", source)


def test_a_camera_that_nobody_answers_for_is_refused_without_its_password(
    client: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(SourceUnreachableError, match=r"127\.0\.0\.1:1/live") as raised,
    ):
        client.create_stream("cam", NOBODY)
    everything = f"{raised.value} {caplog.text} {capfd.readouterr()}"
    assert "hunter2" not in everything
    assert client.list_streams() == [] and feed_threads("cam") == []


def test_an_offline_camera_is_kept_when_that_is_allowed(client: Client) -> None:
    created = client.create_stream("cam", NOBODY, allow_offline=True)
    assert created.feed.state in (SourceState.CONNECTING, SourceState.RECONNECTING)
    assert "hunter2" not in str(client.list_streams())


def test_wrong_credentials_and_paths_have_reasons_of_their_own(
    client: Client, camera: RtspCamera
) -> None:
    with pytest.raises(SourceAuthError) as raised:
        client.create_stream("cam", camera.url.replace("hunter2", "swordfish"))
    assert "swordfish" not in str(raised.value)
    with pytest.raises(SourceNotFoundError):
        client.create_stream("cam", camera.url + "-not")
    created = client.create_stream("cam", camera.url)
    assert created.feed.state is SourceState.LIVE
    assert "hunter2" not in str(created)


def test_of_two_simultaneous_creates_one_wins_and_the_other_leaves_nothing(client: Client) -> None:
    def create(_: int) -> object:
        try:
            return client.create_stream("twin", REALTIME)
        except StreamExistsError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(create, range(4)))
    assert sum(isinstance(outcome, StreamExistsError) for outcome in outcomes) == 3
    assert len(feed_threads("twin")) == 1
    client.delete_stream("twin")
    assert feed_threads("twin") == []


def test_a_repeated_create_gets_the_first_result(client: Client) -> None:
    first = client.create_stream("door", REALTIME, request_id="4ad0")
    assert client.create_stream("door", REALTIME, request_id="4ad0") == first
    with pytest.raises(InvalidInputError, match="'4ad0' came with another request"):
        client.create_stream("hall", REALTIME, request_id="4ad0")
    with pytest.raises(StreamExistsError):
        client.create_stream("door", REALTIME)


def test_one_stream_more_than_allowed_is_refused() -> None:
    with Serving(small_config(max_streams=1)) as serving, Client(serving.address) as client:
        client.create_stream("a", "push:")
        with pytest.raises(CapacityError, match="max_streams"):
            client.create_stream("b", "push:")


def with_timeouts(seconds: float, **engine: int) -> Config:
    config = small_config(**engine)
    timeouts = {"open_timeout_seconds": seconds, "read_timeout_seconds": seconds}
    return config.model_copy(update={"capture": config.capture.model_copy(update=timeouts)})


def test_a_failed_create_leaves_no_decoder() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Serving(with_timeouts(1.0)) as serving,
        Client(serving.address) as client,
    ):
        with pytest.raises(SourceUnreachableError):
            client.create_stream("cam", f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live")
        assert num_decoders() == 0 and feed_threads("cam") == []


def test_creates_that_wait_are_counted_and_hold_up_nobody() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Serving(with_timeouts(25.0, max_streams=3)) as serving,
        Client(serving.address) as client,
        ThreadPoolExecutor(2) as pool,
    ):
        client.create_stream("pushed", "push:")
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live"
        opening = [pool.submit(client.create_stream, f"cam{index}", url) for index in range(2)]
        connections = [silent.accept()[0] for _ in opening]
        began_seconds = time.monotonic()
        for _ in range(20):
            with pytest.raises(CapacityError, match="max_streams"):
                client.create_stream("another", url)
        with pytest.raises(StreamExistsError, match="being opened"):
            client.create_stream("cam0", url)
        assert num_decoders() == 2
        assert len(list(client.push_frames("pushed", frames(4)))) == 4
        assert time.monotonic() - began_seconds < 10.0
        for connection in connections:
            connection.close()
        for create in opening:
            with pytest.raises(StreamVLMError):
                create.result(20)
        client.create_stream("another", "push:")


def test_a_repeated_delete_changes_nothing(client: Client) -> None:
    client.create_stream("door", "push:")
    client.delete_stream("door", request_id="1")
    client.create_stream("door", "push:")
    client.delete_stream("door", request_id="1")
    assert [status.stream_id for status in client.list_streams()] == ["door"]
    with pytest.raises(InvalidInputError, match="128 printable"):
        client.delete_stream("door", request_id="x" * 129)


def test_every_call_refuses_what_is_no_id_and_logs_little(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    huge = "x" * 1_000_000
    with caplog.at_level(logging.INFO):
        for call in (
            lambda: client.create_stream(huge, "push:"),
            lambda: client.get_stream(huge),
            lambda: client.delete_stream(huge),
            lambda: list(client.ask(huge, "what?")),
            lambda: list(client.push_frames(huge, frames(1))),
        ):
            with pytest.raises(InvalidInputError, match="cannot be a stream id"):
                call()
    assert caplog.messages and max(map(len, caplog.messages)) < 2_000
