from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streamvlm.client import Client, PushedFrame
from streamvlm.errors import (
    DeadlineExceededError,
    FrameError,
    InvalidInputError,
    ServiceUnreachableError,
    StreamExistsError,
)
from streamvlm.types import AnswerFinished, Sampling
from tests.services.serving import Serving, frames, push_stream, until


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    with Serving() as serving:
        yield serving


@pytest.fixture
def client(serving: Serving) -> Iterator[Client]:
    with Client(serving.address) as client:
        yield client
        for status in client.list_streams():
            client.delete_stream(status.stream_id)
        assert client.list_streams() == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:50051"])
def test_where_nobody_answers_the_address_is_named(address: str) -> None:
    with Client(address, timeout_seconds=5.0) as client:
        for call in (
            client.list_streams,
            lambda: list(client.ask("door", "what?")),
            lambda: list(client.push_frames("door", frames(3))),
        ):
            with pytest.raises(ServiceUnreachableError, match=address):
                call()


def test_a_service_that_goes_away_is_told() -> None:
    with Serving() as serving, Client(serving.address, timeout_seconds=5.0) as client:
        assert client.list_streams() == []
        serving.stop()
        with pytest.raises(ServiceUnreachableError):
            client.list_streams()


def test_an_open_that_takes_too_long_is_given_up(client: Client, serving: Serving) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        camera = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam"
        with (
            Client(serving.address, timeout_seconds=1.0) as hasty,
            pytest.raises(DeadlineExceededError, match="within 1 s"),
        ):
            hasty.create_stream("slow", camera)
        until(lambda: is_free(client, "slow"))


def is_free(client: Client, stream_id: str) -> bool:
    """Whether nothing holds this name any more; holds it from then on."""
    try:
        client.create_stream(stream_id, "push:")
    except StreamExistsError:
        return False
    return True


def test_a_listing_is_whole(client: Client) -> None:
    for index in range(3):
        client.create_stream(f"s{index}", "push:")
    assert [status.stream_id for status in client.list_streams()] == ["s0", "s1", "s2"]


def test_a_question_that_nobody_reads_to_the_end_is_ended(client: Client) -> None:
    push_stream(client, "door")
    answer = client.ask("door", "what?", Sampling(max_new_tokens=10_000))
    next(answer)
    del answer
    *_, finished = client.ask("door", "what?", Sampling(max_new_tokens=4))
    assert isinstance(finished, AnswerFinished)


def test_an_error_of_the_producer_reaches_the_caller(client: Client) -> None:
    client.create_stream("pushed", "push:")

    def broken() -> Iterator[PushedFrame]:
        yield from frames(1)
        raise OSError("the producer's camera broke")

    with pytest.raises(OSError, match="camera broke"):
        list(client.push_frames("pushed", broken()))


def test_a_frame_beyond_the_largest_message_is_told(client: Client) -> None:
    client.create_stream("pushed", "push:")
    huge = PushedFrame(image=bytes(17 * 2**20))
    with pytest.raises(InvalidInputError, match="16"):
        list(client.push_frames("pushed", [huge]))


NOT_UNICODE = "\udcff"


def test_what_cannot_be_sent_is_refused_in_our_words(client: Client) -> None:
    for call in (
        lambda: client.create_stream(NOT_UNICODE, "push:"),
        lambda: client.create_stream("door", f"rtsp://me:hunter2@host/{NOT_UNICODE}"),
        lambda: client.get_stream(NOT_UNICODE),
        lambda: client.delete_stream("door", request_id=NOT_UNICODE),
        lambda: list(client.ask("door", NOT_UNICODE)),
        lambda: list(client.ask("door", "what?", Sampling(max_new_tokens=2**40))),
        lambda: list(client.ask("door", "what?", Sampling(seed=10**20))),
        lambda: list(client.push_frames(NOT_UNICODE, frames(1))),
    ):
        with pytest.raises(InvalidInputError) as raised:
            call()
        assert "hunter2" not in str(raised.value)


def test_a_frame_in_an_unknown_encoding_is_named(client: Client) -> None:
    client.create_stream("pushed", "push:")
    webp = PushedFrame(image=b"x", encoding="webp")  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="'webp'; allowed: jpeg, png, rgb24"):
        list(client.push_frames("pushed", [webp]))


def test_a_closed_client_says_so(serving: Serving) -> None:
    client = Client(serving.address)
    client.close()
    for call in (client.list_streams, lambda: list(client.push_frames("pushed", frames(1)))):
        with pytest.raises(InvalidInputError, match="the client is closed"):
            call()


@pytest.mark.parametrize("address", ["", "foo", "host:", ":50051", "http://host:1", "a b:1", "h:x"])
def test_what_is_no_address_is_refused_and_named(address: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is not an address; allowed: HOST:PORT"):
        Client(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "gateway.local:50051", "[::1]:50051"])
def test_host_and_port_are_an_address(address: str) -> None:
    Client(address).close()
