from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from dataclasses import replace

import grpc
import numpy as np
import pytest
from PIL import Image

from services.sources import WINDOW_FRAMES
from streamvlm.client import Client, PushedFrame
from streamvlm.errors import CapacityError, InvalidInputError, SourceLostError, StreamNotFoundError
from streamvlm.types import AnswerStarted, ClockSource
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceStub
from tests.services.serving import START_UTC, Serving, frames, push_stream, until


def encoded(index: int, encoding: str) -> PushedFrame:
    pixels = np.random.default_rng(index).integers(0, 256, (64, 96, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, encoding)
    return PushedFrame(
        image=buffer.getvalue(),
        encoding="png" if encoding == "png" else "jpeg",
        utc_seconds=START_UTC + index / 2,
        sequence=index,
    )


def test_pushed_frames_can_be_asked_about(client: Client) -> None:
    push_stream(client, "pushed", num_frames=4)
    started = next(iter(client.ask("pushed", "what was that?")))
    assert isinstance(started, AnswerStarted)
    (evidence,) = started.evidence
    assert evidence.interval.start.utc_seconds == START_UTC
    assert evidence.interval.start.clock is ClockSource.CLIENT
    assert evidence.interval.duration_seconds == 2.0


def test_jpeg_and_png_are_taken_and_the_rest_is_answered_in_band(client: Client) -> None:
    client.create_stream("pushed", "push:")
    pushed = [
        encoded(0, "jpeg"),
        encoded(1, "png"),
        replace(encoded(2, "jpeg"), image=b"not a picture"),
        replace(encoded(3, "jpeg"), image=b""),
        replace(frames(1, first=4)[0], height=None),
        replace(frames(1, first=5)[0], utc_seconds=START_UTC - 60),
        encoded(6, "jpeg"),
    ]
    acks = list(client.push_frames("pushed", pushed))
    assert [ack.sequence for ack in acks] == list(range(7))
    assert [ack.is_sampled for ack in acks] == [True, True, False, False, False, False, True]
    assert [ack.frames_refused for ack in acks] == [0, 0, 1, 2, 3, 4, 4]
    assert [ack.error is None for ack in acks] == [ack.is_sampled for ack in acks]
    until(lambda: client.get_stream("pushed").feed.frames_sampled == 3)


def test_a_frame_is_taken_from_the_caller_only_when_there_is_room(client: Client) -> None:
    client.create_stream("pushed", "push:")
    taken = 0

    def live() -> Iterator[PushedFrame]:
        nonlocal taken
        for frame in frames(40):
            taken += 1
            yield frame

    for num_acks, _ in enumerate(client.push_frames("pushed", live()), start=1):
        assert taken <= num_acks + WINDOW_FRAMES
    assert taken == num_acks == 40


def test_a_stream_goes_on_with_the_next_call(client: Client) -> None:
    push_stream(client, "pushed", num_frames=3)
    acks = list(client.push_frames("pushed", frames(3, first=3)))
    assert [ack.error for ack in acks] == [None] * 3
    until(lambda: client.get_stream("pushed").feed.frames_sampled == 6)


def test_a_caller_may_leave_in_the_middle(client: Client) -> None:
    client.create_stream("pushed", "push:")
    acks = client.push_frames("pushed", frames(40))
    next(acks)
    acks.close()
    until(lambda: client.get_stream("pushed").feed.frames_sampled >= 1)


def test_only_push_streams_take_frames(client: Client) -> None:
    client.create_stream("made-up", "synthetic:still?seconds=1&height=96&width=128")
    with pytest.raises(InvalidInputError, match="'made-up' has a source of its own"):
        list(client.push_frames("made-up", frames(1)))
    with pytest.raises(StreamNotFoundError):
        list(client.push_frames("nowhere", frames(1)))


def test_a_stream_is_pushed_to_by_one_call_at_a_time(client: Client) -> None:
    client.create_stream("pushed", "push:")

    def while_another_tries() -> Iterator[PushedFrame]:
        yield from frames(1)
        with pytest.raises(CapacityError, match="another call"):
            list(client.push_frames("pushed", frames(1, first=1)))
        yield from frames(1, first=1)

    assert len(list(client.push_frames("pushed", while_another_tries()))) == 2


def test_a_failed_push_is_logged_with_its_stream(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(StreamNotFoundError):
        list(client.push_frames("nowhere", frames(1)))
    assert any(line.startswith("stream nowhere: ") for line in caplog.messages)


def test_deleting_the_stream_ends_the_call(client: Client) -> None:
    client.create_stream("pushed", "push:")

    def pushed() -> Iterator[PushedFrame]:
        yield from frames(2)
        client.delete_stream("pushed")
        yield from frames(1, first=2)

    with pytest.raises(SourceLostError):
        list(client.push_frames("pushed", pushed()))


def test_a_call_must_begin_with_open_and_only_once(client: Client, serving: Serving) -> None:
    client.create_stream("pushed", "push:")
    opening = pb.PushFramesRequest(open=pb.PushFramesOpen(stream_id="pushed"))
    with grpc.insecure_channel(serving.address) as channel:
        push = StreamServiceStub(channel).PushFrames
        for requests in ([], [pb.PushFramesRequest(frame=pb.PushedFrame())]):
            with pytest.raises(grpc.RpcError) as raised:
                list(push(iter(requests), timeout=10))
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        opened, ack = push(iter([opening, opening]), timeout=10)
    assert opened.opened.window_frames == WINDOW_FRAMES
    assert ack.ack.error.reason == "INVALID_FRAME"
