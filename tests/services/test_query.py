from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc

from services import query
from streamvlm.client import Client
from streamvlm.errors import (
    CapacityError,
    DeadlineExceededError,
    EngineStoppedError,
    QuestionError,
    StreamEmptyError,
    StreamNotFoundError,
    StreamVLMError,
    TimeAheadError,
    TimeNotRememberedError,
)
from streamvlm.types import (
    AnswerFinished,
    AnswerStarted,
    AnswerToken,
    FinishReason,
    Sampling,
    UtcInterval,
)
from streamvlm.wire.answers import request_of
from streamvlm.wire.v1 import query_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceStub
from tests.services.serving import (
    LONG_ANSWER,
    START_UTC,
    Serving,
    push_stream,
    small_config,
    until,
)

PROTO_FOLDER = Path(__file__).parents[2] / "proto"
ENDLESS = Sampling(max_new_tokens=LONG_ANSWER)


@pytest.fixture(scope="module")
def asking(serving: Serving) -> Iterator[Client]:
    """A client, and a stream `door` that has seen 12 frames."""
    with Client(serving.address) as client:
        push_stream(client, "door")
        yield client


def test_an_answer_starts_with_evidence_and_comes_token_by_token(asking: Client) -> None:
    events = list(asking.ask("door", "what was that?", Sampling(max_new_tokens=8)))
    started, *tokens, finished = events
    assert isinstance(started, AnswerStarted) and isinstance(finished, AnswerFinished)
    assert all(isinstance(token, AnswerToken) for token in tokens)
    assert len({event.question_id for event in events}) == 1
    assert started.evidence[0].interval.start.pts_seconds == 0.0
    assert started.evidence[-1].interval.end.pts_seconds == 6.0
    assert len(tokens) == finished.usage.answer_tokens <= 8
    assert finished.text == "".join(token.text for token in tokens)
    assert 0 < finished.usage.time_to_first_token_seconds <= finished.usage.total_seconds


def test_the_same_question_has_the_same_answer(asking: Client) -> None:
    sampling = Sampling(max_new_tokens=16, temperature=1.0, seed=7)
    first, second = (list(asking.ask("door", "what?", sampling))[-1] for _ in range(2))
    assert isinstance(first, AnswerFinished) and isinstance(second, AnswerFinished)
    assert first.text == second.text


def test_a_client_made_from_the_protos_alone_gets_an_answer(
    asking: Client, serving: Serving, tmp_path: Path
) -> None:
    """Other people's languages: nothing of ours but proto/ and the address."""
    compiled = tmp_path / "protos.bin"
    assert 0 == protoc.main(
        [
            "protoc",
            f"-I{PROTO_FOLDER}",
            f"-I{Path(protoc.__file__).parent / '_proto'}",
            f"--descriptor_set_out={compiled}",
            "--include_imports",
            "streamvlm/v1/query_service.proto",
        ]
    )
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes()).file:
        pool.Add(file)
    method = pool.FindServiceByName("streamvlm.v1.QueryService").FindMethodByName("Ask")
    request, response = map(
        message_factory.GetMessageClass, (method.input_type, method.output_type)
    )
    with grpc.insecure_channel(serving.address) as channel:
        ask = channel.unary_stream(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        question: Any = request(stream_id="door", question="what was that?")
        question.sampling.max_new_tokens = 8
        kinds = [(event.WhichOneof("event"), event) for event in ask(question, timeout=20)]
    assert [kind for kind, _ in kinds] == ["started", *["token"] * (len(kinds) - 2), "finished"]
    evidence = kinds[0][1].started.evidence
    assert evidence and evidence[0].interval.start.utc.seconds == 1_750_000_000
    assert kinds[-1][1].finished.usage.answer_tokens == len(kinds) - 2


@pytest.mark.parametrize(
    ("stream_id", "text", "kind", "message"),
    [
        ("nowhere", "what?", StreamNotFoundError, "no stream 'nowhere'"),
        ("door", "", QuestionError, "empty"),
        ("door", " \n", QuestionError, "empty"),
        ("door", "x" * 100_000, QuestionError, "100000 characters; at most 4000"),
    ],
)
def test_a_bad_question_is_refused_in_a_line(
    asking: Client, stream_id: str, text: str, kind: type[StreamVLMError], message: str
) -> None:
    with pytest.raises(kind, match=message) as raised:
        list(asking.ask(stream_id, text))
    assert len(str(raised.value)) < 200
    assert asking.get_stream("door").stream_id == "door"


@pytest.fixture(scope="module")
def long_seen(serving: Serving) -> Iterator[Client]:
    """A client, and a stream `yard` in Kathmandu that has seen 40 s, most of it in blocks."""
    with Client(serving.address) as client:
        push_stream(client, "yard", 80, time_zone="Asia/Kathmandu")
        assert client.get_stream("yard").memory.blocks >= 4
        yield client


def started_of(
    client: Client, text: str, during: UtcInterval | None = None, stream_id: str = "yard"
) -> AnswerStarted:
    answer = client.ask(stream_id, text, Sampling(max_new_tokens=2), during=during)
    started = next(answer)
    answer.close()
    assert isinstance(started, AnswerStarted)
    return started


def recalled(started: AnswerStarted) -> list[tuple[float, float]]:
    return [
        (each.interval.start.pts_seconds, each.interval.end.pts_seconds)
        for each in started.evidence
        if each.block_id is not None
    ]


def test_a_question_about_a_time_recalls_that_time_alone(long_seen: Client) -> None:
    whole = recalled(started_of(long_seen, "what?"))
    first = UtcInterval(start_seconds=START_UTC, end_seconds=START_UTC + 2)
    started = started_of(long_seen, "what?", first)
    spans = recalled(started)
    assert spans and spans[0][0] == 0.0 and all(start < 2.0 for start, _ in spans)
    assert len(spans) < len(whole)
    assert started.asked is not None and started.asked.intervals == (first,)
    assert started.evidence[-1].block_id is None, "what the stream shows now is there as always"


def test_a_time_in_the_text_is_that_of_the_camera(long_seen: Client) -> None:
    """The stream begins at 15:06:40 UTC, when it is 20:51:40 in Kathmandu."""
    started = started_of(long_seen, "What was there between 20:51:40 and 20:51:42?")
    assert started.asked is not None
    assert started.asked.words == "between 20:51:40 and 20:51:42"
    assert started.asked.time_zone == "Asia/Kathmandu" and started.asked.unknown == ()
    assert recalled(started) and all(start < 2.0 for start, _ in recalled(started))
    started = started_of(long_seen, "What was there since 20:51?")
    assert started.asked is not None
    (unknown,) = started.asked.unknown
    assert unknown.reason == "BEFORE_MEMORY"
    assert unknown.interval.end_seconds == START_UTC


@pytest.mark.parametrize(
    ("text", "during", "kind", "code", "message"),
    [
        (
            "What was there at 15:06:45?",
            None,
            TimeNotRememberedError,
            grpc.StatusCode.FAILED_PRECONDITION,
            r"'at 15:06:45' \(2025-06-15 15:06:30 Asia/Kathmandu .*BEFORE_MEMORY",
        ),
        (
            "Who comes tomorrow?",
            None,
            TimeAheadError,
            grpc.StatusCode.OUT_OF_RANGE,
            r"'tomorrow' .*is ahead: by the camera's clock it is 2025-06-15 20:52:20",
        ),
        (
            "what?",
            UtcInterval(start_seconds=START_UTC + 3600),
            TimeAheadError,
            grpc.StatusCode.OUT_OF_RANGE,
            "2025-06-15 21:51:40 Asia/Kathmandu to the end of time is ahead",
        ),
    ],
)
def test_a_time_of_which_nothing_is_known_is_refused(
    long_seen: Client,
    serving: Serving,
    text: str,
    during: UtcInterval | None,
    kind: type[StreamVLMError],
    code: grpc.StatusCode,
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        started_of(long_seen, text, during)
    request = request_of("yard", text, Sampling(), during)
    with grpc.insecure_channel(serving.address) as channel, pytest.raises(grpc.RpcError) as raised:
        list(QueryServiceStub(channel).Ask(request))
    assert raised.value.code() is code


def test_an_interval_that_ends_before_it_starts_is_refused(
    long_seen: Client, serving: Serving
) -> None:
    request = request_of("yard", "what?", Sampling(), UtcInterval(start_seconds=2e9))
    request.during.end.seconds = 1_900_000_000
    with grpc.insecure_channel(serving.address) as channel, pytest.raises(grpc.RpcError) as raised:
        list(QueryServiceStub(channel).Ask(request))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "must end after it starts" in raised.value.details()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_new_tokens=0),
        Sampling(max_new_tokens=-1),
        Sampling(max_new_tokens=LONG_ANSWER + 1),
        Sampling(temperature=-1.0),
        Sampling(temperature=float("nan")),
        Sampling(top_p=0.0),
    ],
)
def test_impossible_sampling_is_refused(asking: Client, sampling: Sampling) -> None:
    with pytest.raises(QuestionError, match="allowed"):
        list(asking.ask("door", "what?", sampling))


def test_a_stream_that_has_shown_nothing_cannot_be_asked(client: Client) -> None:
    client.create_stream("dark", "push:")
    with pytest.raises(StreamEmptyError, match="'dark'"):
        list(client.ask("dark", "what?"))


@pytest.fixture
def narrow() -> Iterator[Serving]:
    """A service that answers one question at a time; its stream is `door`."""
    with Serving(small_config(max_questions=1)) as serving:
        with Client(serving.address) as client:
            push_stream(client, "door")
        yield serving


def can_ask(client: Client) -> bool:
    try:
        return isinstance(next(iter(client.ask("door", "what?"))), AnswerStarted)
    except CapacityError:
        return False


def test_who_leaves_in_the_middle_frees_the_engine(narrow: Serving) -> None:
    with Client(narrow.address) as client:
        answer = client.ask("door", "what?", ENDLESS)
        assert isinstance(next(answer), AnswerStarted)
        with pytest.raises(CapacityError):
            next(iter(client.ask("door", "what?")))
        answer.close()
        until(lambda: can_ask(client))


def test_the_callers_deadline_ends_the_answer(narrow: Serving) -> None:
    with (
        Client(narrow.address, timeout_seconds=0.5) as hasty,
        pytest.raises(DeadlineExceededError, match=r"0\.5 s"),
    ):
        list(hasty.ask("door", "what?", ENDLESS))
    with Client(narrow.address) as client:
        until(lambda: can_ask(client))


def test_a_call_without_a_deadline_gets_one(
    narrow: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "DEFAULT_DEADLINE_SECONDS", 0.3)
    request = pb.AskRequest(stream_id="door", question="what?")
    request.sampling.max_new_tokens = LONG_ANSWER
    with grpc.insecure_channel(narrow.address) as channel, pytest.raises(grpc.RpcError) as raised:
        list(QueryServiceStub(channel).Ask(request))
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "without a deadline" in raised.value.details()


def test_an_answer_ends_with_unavailable_when_the_service_stops(narrow: Serving) -> None:
    with Client(narrow.address, timeout_seconds=20.0) as client:
        answer = client.ask("door", "what?", ENDLESS)
        next(answer)
        stopping = threading.Thread(target=narrow.stop)
        stopping.start()
        with pytest.raises(EngineStoppedError):
            list(answer)
        stopping.join()


def test_an_answer_that_ends_in_the_grace_is_whole(narrow: Serving) -> None:
    with Client(narrow.address) as client:
        answer = client.ask("door", "what?", Sampling(max_new_tokens=4))
        next(answer)
        narrow.stop()
        *_, finished = answer
    assert isinstance(finished, AnswerFinished)
    assert finished.finish_reason is FinishReason.LENGTH
