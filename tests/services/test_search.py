"""Search over all streams of all workers, through the gateway."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from streamvlm.async_client import AsyncClient
from streamvlm.client import Client
from streamvlm.errors import (
    DeadlineExceededError,
    EngineStoppedError,
    InvalidInputError,
    QuestionError,
    ServiceUnreachableError,
    StreamNotFoundError,
    StreamVLMError,
)
from streamvlm.types import UtcInterval
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceStub
from tests.services.serving import START_UTC, Serving, push_stream


@pytest.fixture(scope="module")
def looking(serving: Serving) -> Iterator[Client]:
    """A client; streams `yard` and `hall` have seen 40 s, `dark` nothing."""
    with Client(serving.address) as client:
        push_stream(client, "yard", 80, time_zone="Asia/Kathmandu")
        push_stream(client, "hall", 80)
        client.create_stream("dark", "push:")
        yield client


def test_the_best_moments_of_all_streams_come_first(looking: Client) -> None:
    found = looking.search("a red van", most=5)
    assert sorted(found.searched) == ["dark", "hall", "yard"] and found.unsearched == ()
    scores = [each.score for each in found.moments]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert {each.stream_id for each in found.moments} == {"hall", "yard"}, "they show the same"


def test_a_search_finds_the_best_of_all_that_recall_can_find(looking: Client) -> None:
    answer = looking.ask("yard", "a red van")
    started = next(answer)
    answer.close()
    recalled = {each.block_id for each in started.evidence if each.block_id is not None}  # type: ignore[union-attr]
    everything = looking.search("a red van", ["yard"], most=100)
    some = looking.search("a red van", ["yard"], most=3)
    assert recalled <= {each.block_id for each in everything.moments}
    assert some.moments == everything.moments[:3]
    assert some.searched == ("yard",)


def test_a_search_of_a_time_finds_that_time_alone(looking: Client) -> None:
    first = UtcInterval(start_seconds=START_UTC, end_seconds=START_UTC + 2)
    found = looking.search("a red van", during=first, most=100)
    assert {each.stream_id for each in found.moments} == {"hall", "yard"}
    assert all(each.interval.start.utc_seconds < START_UTC + 2 for each in found.moments)
    assert all(each.interval.end.utc_seconds > START_UTC for each in found.moments)
    whole = looking.search("a red van", most=100)
    assert len(whole.moments) > len(found.moments)


def test_a_time_in_the_text_is_that_of_each_camera(looking: Client) -> None:
    found = looking.search("a red van between 15:06:40 and 15:06:42")
    assert {each.stream_id for each in found.moments} == {"hall"}
    assert looking.search("a red van tomorrow").moments == ()


def test_a_stream_that_is_named_twice_is_searched_once(looking: Client) -> None:
    found = looking.search("a red van", ["hall", "hall"], most=100)
    blocks = [each.block_id for each in found.moments]
    assert len(blocks) == len(set(blocks)) and found.searched == ("hall",)


@pytest.mark.parametrize(
    ("text", "stream_ids", "most", "kind", "message"),
    [
        ("red", ["nowhere"], 10, StreamNotFoundError, "no stream 'nowhere'"),
        ("red", ["yard", "nowhere"], 10, StreamNotFoundError, "no stream 'nowhere'"),
        ("red", ["No!"], 10, InvalidInputError, "'No!' cannot be a stream id"),
        (" ", [], 10, QuestionError, "empty"),
        ("x" * 5_000, ["yard"], 10, QuestionError, "5000 characters; at most 4000"),
        ("red", [], 101, InvalidInputError, "top_k = 101; allowed: 1 to 100"),
        ("red", [], -1, InvalidInputError, "top_k = -1; allowed: 1 to 100"),
        ("red", [f"s{i}" for i in range(1001)], 10, InvalidInputError, "at most 1000"),
    ],
)
def test_a_bad_search_is_refused_in_a_line(
    looking: Client,
    text: str,
    stream_ids: list[str],
    most: int,
    kind: type[StreamVLMError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        looking.search(text, stream_ids, most=most)


def test_what_is_not_set_has_its_default(looking: Client, serving: Serving) -> None:
    with grpc.insecure_channel(serving.address) as channel:
        response = QueryServiceStub(channel).Search(pb.SearchRequest(text="red"))
    assert len(response.moments) == 10


def test_a_deadline_that_is_over_is_told(looking: Client, serving: Serving) -> None:
    with (
        Client(serving.address, timeout_seconds=0.0001) as hasty,
        pytest.raises(DeadlineExceededError),
    ):
        hasty.search("a red van")
    assert looking.search("a red van").moments


async def test_the_client_for_asyncio_finds_the_same(looking: Client, serving: Serving) -> None:
    async with AsyncClient(serving.address) as client:
        found = await client.search("a red van", ["hall"])
        with pytest.raises(StreamNotFoundError):
            await client.search("a red van", ["nowhere"])
    assert found == looking.search("a red van", ["hall"])


def test_a_service_that_stops_says_so() -> None:
    with Serving() as serving, Client(serving.address, timeout_seconds=5.0) as client:
        push_stream(client, "door", 20)
        assert client.search("red").searched == ("door",)
        serving.stop()
        with pytest.raises((EngineStoppedError, ServiceUnreachableError)):
            client.search("red")
