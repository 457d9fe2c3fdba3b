from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamvlm.client import Client, PushedFrame
from streamvlm.errors import (
    DeadlineExceededError,
    InvalidInputError,
    ServiceUnreachableError,
)
from streamvlm.types import AnswerFinished, Sampling
from tests.services.serving import Serving, frames, push_stream


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


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no such host:50051"])
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
    with (
        Client(serving.address, timeout_seconds=0.001) as hasty,
        pytest.raises(DeadlineExceededError, match=r"0\.001 s"),
    ):
        hasty.create_stream("door", "synthetic:moving?realtime=1")
    assert client.list_streams() == []


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
