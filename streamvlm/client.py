"""A client for Python programs: our types and our errors, gRPC inside."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import grpc
from grpc_status import rpc_status

from streamvlm.errors import DeadlineExceededError, ServiceUnreachableError, StreamVLMError
from streamvlm.types import Question, Sampling, StreamStatus
from streamvlm.wire.answers import GivenEvent, event_from_proto, question_to_proto
from streamvlm.wire.failures import error_from_proto
from streamvlm.wire.frames import PushAck, PushedFrame, ack_from_proto, frame_to_proto
from streamvlm.wire.status import stream_from_proto
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceStub
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceStub

DEFAULT_ADDRESS = "127.0.0.1:50051"

_MAX_MESSAGE_BYTES = 16 * 2**20
_OPTIONS = (
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Client:
    """Talks to one service; may be shared by threads. Leaving its `with` block closes it.

    Every method raises the `StreamVLMError` that the service tells of, ServiceUnreachableError
    where none answers, and DeadlineExceededError after `timeout_seconds`.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, *, timeout_seconds: float = 30.0) -> None:
        """Connects when it is first used. `timeout_seconds` is for each call but `push_frames`."""
        self._address, self._timeout_seconds = address, timeout_seconds
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._streams = StreamServiceStub(self._channel)
        self._questions = QueryServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all calls and the connection."""
        self._channel.close()

    def create_stream(
        self, stream_id: str, source: str, *, allow_offline: bool = False, request_id: str = ""
    ) -> StreamStatus:
        """Watch a source, once it is open; at once, and for ever, with `allow_offline`."""
        request = pb.CreateStreamRequest(
            stream_id=stream_id, source=source, allow_offline=allow_offline, request_id=request_id
        )
        with self._errors():
            response = self._streams.CreateStream(request, timeout=self._timeout_seconds)
        return stream_from_proto(response.stream)

    def get_stream(self, stream_id: str) -> StreamStatus:
        """One stream."""
        request = pb.GetStreamRequest(stream_id=stream_id)
        with self._errors():
            response = self._streams.GetStream(request, timeout=self._timeout_seconds)
        return stream_from_proto(response.stream)

    def list_streams(self) -> list[StreamStatus]:
        """All streams, by id."""
        streams: list[StreamStatus] = []
        request = pb.ListStreamsRequest()
        while True:
            with self._errors():
                response = self._streams.ListStreams(request, timeout=self._timeout_seconds)
            streams += map(stream_from_proto, response.streams)
            if not response.next_page_token:
                return streams
            request.page_token = response.next_page_token

    def delete_stream(self, stream_id: str) -> None:
        """Stop watching, and forget all that was seen."""
        request = pb.DeleteStreamRequest(stream_id=stream_id)
        with self._errors():
            self._streams.DeleteStream(request, timeout=self._timeout_seconds)

    def ask(
        self, stream_id: str, text: str, sampling: Sampling | None = None
    ) -> Iterator[GivenEvent]:
        """The events of an answer as they come: AnswerStarted, AnswerTokens, AnswerFinished.

        Closing the iterator, or leaving it to be collected, ends the answer.
        """
        question = Question(
            question_id="", stream_id=stream_id, text=text, sampling=sampling or Sampling()
        )
        with self._errors():
            call = self._questions.Ask(question_to_proto(question), timeout=self._timeout_seconds)
            try:
                for response in call:
                    yield event_from_proto(response)
            finally:
                call.cancel()

    def push_frames(self, stream_id: str, frames: Iterable[PushedFrame]) -> Iterator[PushAck]:
        """Give a push stream its frames; one acknowledgement for each, in their order.

        A frame is taken from `frames` only when the service has room for it, on another thread: a
        live producer gives its newest then. Go on iterating, or the frames stop.
        """
        window = _Window()
        with self._errors():
            call = self._streams.PushFrames(_push_requests(stream_id, frames, window))
            try:
                for response in call:
                    if response.HasField("opened"):
                        window.open(response.opened.window_frames)
                    else:
                        window.open(1)
                        yield ack_from_proto(response.ack)
            finally:
                window.close()
                call.cancel()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise self._translated(error) from None

    def _translated(self, error: grpc.RpcError) -> StreamVLMError:
        status = rpc_status.from_call(error)
        told = error_from_proto(status) if status is not None else None
        if told is not None:
            return told
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServiceUnreachableError(f"no streamvlm service answers on {self._address}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(
                f"the service on {self._address} did not finish within {self._timeout_seconds:g} s"
            )
        return StreamVLMError(f"{self._address}: {code.name}: {details}")


class _Window:
    """Frames that may be sent now; shared by the thread that sends and the one that receives."""

    def __init__(self) -> None:
        self._has_changed = threading.Condition()
        self._free = 0
        self._is_closed = False

    def open(self, frames: int) -> None:
        """Room for this many more."""
        with self._has_changed:
            self._free += frames
            self._has_changed.notify_all()

    def close(self) -> None:
        """The call is over: nobody needs to wait any more."""
        with self._has_changed:
            self._is_closed = True
            self._has_changed.notify_all()

    def take(self) -> bool:
        """Wait for room for one frame and take it; False when the call is over."""
        with self._has_changed:
            self._has_changed.wait_for(lambda: self._free or self._is_closed)
            self._free -= 1
            return not self._is_closed


def _push_requests(
    stream_id: str, frames: Iterable[PushedFrame], window: _Window
) -> Iterator[pb.PushFramesRequest]:
    yield pb.PushFramesRequest(open=pb.PushFramesOpen(stream_id=stream_id))
    remaining = iter(frames)
    while window.take():
        try:
            frame = next(remaining)
        except StopIteration:
            return
        yield pb.PushFramesRequest(frame=frame_to_proto(frame))
