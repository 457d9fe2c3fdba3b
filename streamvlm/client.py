"""A client for Python programs: our types and our errors. `AsyncClient` is that for asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from streamvlm.async_client import AsyncClient
from streamvlm.connection import DEFAULT_ADDRESS, OPTIONS, Connection
from streamvlm.erasure import Erased
from streamvlm.rule_calls import RuleCalls
from streamvlm.sending import Sending
from streamvlm.types import Found, Sampling, StreamStatus, UtcInterval
from streamvlm.wire.alerts import GivenAlert, ListedEvent, given_from_proto, listed_from_proto
from streamvlm.wire.answers import GivenEvent, event_from_proto, request_of
from streamvlm.wire.erasures import erased_from_proto, erasure_to_proto
from streamvlm.wire.frames import PushAck, PushedFrame, ack_from_proto
from streamvlm.wire.rules import RuleTrial
from streamvlm.wire.searches import found_from_proto, search_request
from streamvlm.wire.status import stream_from_proto
from streamvlm.wire.v1 import event_service_pb2 as event_pb
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1 import webhook_service_pb2 as webhook_pb
from streamvlm.wire.v1.event_service_pb2_grpc import EventServiceStub
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceStub
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceStub
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceStub
from streamvlm.wire.v1.webhook_service_pb2_grpc import WebhookServiceStub
from streamvlm.wire.webhooks import WebhookStatus, webhook_from_proto

__all__ = [
    "DEFAULT_ADDRESS",
    "AsyncClient",
    "Client",
    "GivenAlert",
    "GivenEvent",
    "ListedEvent",
    "PushAck",
    "PushedFrame",
    "RuleTrial",
    "WebhookStatus",
]


class Client(RuleCalls):
    """Talks to one service; may be shared by threads. Leaving its `with` block closes it.

    Every method raises the `StreamVLMError` that the service tells of, ServiceUnreachableError
    where none answers, DeadlineExceededError after `timeout_seconds`, and InvalidInputError for
    what cannot be sent and after `close`.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_seconds: float = 30.0,
        api_key: str = "",
        tls_root_certificates: bytes | None = None,
    ) -> None:
        """Connects when it is first used. `timeout_seconds` is for each call but `push_frames` and
        `subscribe`. `tls_root_certificates` are PEM; empty for the system's, None for
        no TLS.

        Raises InvalidInputError where `address` is not HOST:PORT.
        """
        self._connection = Connection(
            address=address,
            timeout_seconds=timeout_seconds,
            api_key=api_key,
            tls_root_certificates=tls_root_certificates,
        )
        self._limits = {"timeout": timeout_seconds, "metadata": self._connection.metadata}
        credentials = self._connection.credentials
        self._channel = (
            grpc.secure_channel(address, credentials, options=OPTIONS)
            if credentials
            else grpc.insecure_channel(address, options=OPTIONS)
        )
        self._streams = StreamServiceStub(self._channel)
        self._questions = QueryServiceStub(self._channel)
        self._rules = RuleServiceStub(self._channel)
        self._events = EventServiceStub(self._channel)
        self._webhooks = WebhookServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

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
        self._connection.is_closed = True
        self._channel.close()

    def is_serving(self) -> bool:
        """Whether the service is ready for calls; it is there where this does not raise."""
        with self._connection.errors():
            response = self._health.Check(health_pb2.HealthCheckRequest(), **self._limits)
            return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    def create_stream(
        self,
        stream_id: str,
        source: str,
        *,
        allow_offline: bool = False,
        time_zone: str = "",
        request_id: str = "",
    ) -> StreamStatus:
        """Watch a source, once it is open; at once, and for ever, with `allow_offline`. Questions
        about it name times of `time_zone`, such as "Europe/Berlin"; UTC if empty.
        """
        with self._connection.errors():
            request = pb.CreateStreamRequest(
                stream_id=stream_id,
                source=source,
                allow_offline=allow_offline,
                time_zone=time_zone,
                request_id=request_id,
            )
            response = self._streams.CreateStream(request, **self._limits)
            return stream_from_proto(response.stream)

    def get_stream(self, stream_id: str) -> StreamStatus:
        """One stream."""
        with self._connection.errors():
            request = pb.GetStreamRequest(stream_id=stream_id)
            response = self._streams.GetStream(request, **self._limits)
            return stream_from_proto(response.stream)

    def list_streams(self) -> list[StreamStatus]:
        """All streams, by id."""
        streams: list[StreamStatus] = []
        request = pb.ListStreamsRequest()
        while True:
            with self._connection.errors():
                response = self._streams.ListStreams(request, **self._limits)
            streams += map(stream_from_proto, response.streams)
            if not response.next_page_token:
                return streams
            request.page_token = response.next_page_token

    def delete_stream(self, stream_id: str, *, request_id: str = "") -> None:
        """Stop watching, and forget all that was seen."""
        with self._connection.errors():
            request = pb.DeleteStreamRequest(stream_id=stream_id, request_id=request_id)
            self._streams.DeleteStream(request, **self._limits)

    def erase_stream(self, stream_id: str, during: UtcInterval) -> Erased:
        """Forget what was seen then; watching goes on. May be repeated."""
        with self._connection.errors():
            request = erasure_to_proto(stream_id, during)
            return erased_from_proto(self._streams.EraseStream(request, **self._limits))

    def ask(
        self,
        stream_id: str,
        text: str,
        sampling: Sampling | None = None,
        *,
        during: UtcInterval | None = None,
    ) -> Iterator[GivenEvent]:
        """The events of an answer as they come: AnswerStarted, AnswerTokens, AnswerFinished.

        `during` is what it asks about; without, times in the text count. Closing the iterator, or
        leaving it to be collected, ends the answer.
        """
        with self._connection.errors():
            request = request_of(stream_id, text, sampling, during)
            call = self._questions.Ask(request, **self._limits)
            try:
                for response in call:
                    if (event := event_from_proto(response)) is not None:
                        yield event
            finally:
                call.cancel()

    def search(
        self,
        text: str,
        stream_ids: Iterable[str] = (),
        *,
        during: UtcInterval | None = None,
        most: int = 10,
    ) -> Found:
        """The moments that fit best, of these streams or of all; times as in `ask`."""
        with self._connection.errors():
            request = search_request(text, stream_ids, during, most)
            return found_from_proto(self._questions.Search(request, **self._limits))

    def subscribe(
        self, *, resume_token: str = "", stream_ids: Iterable[str] = ()
    ) -> Iterator[GivenAlert]:
        """Alerts as they come, from behind the token or from now on, until the service stops.

        Closing the iterator, or leaving it to be collected, ends the subscription. After an error
        go on with the token of the newest alert.
        """
        with self._connection.errors():
            request = event_pb.SubscribeRequest(
                resume_token=resume_token, stream_ids=list(stream_ids)
            )
            call = self._events.Subscribe(request, metadata=self._connection.metadata)
            try:
                for response in call:
                    if (given := given_from_proto(response)) is not None:
                        yield given
            finally:
                call.cancel()

    def list_events(self, *, most: int = 100, stream_ids: Iterable[str] = ()) -> list[ListedEvent]:
        """What happened of late, the newest first, at most so many."""
        wanted, events = list(stream_ids), list[ListedEvent]()
        request = event_pb.ListEventsRequest(page_size=min(most, 1000), stream_ids=wanted)
        while True:
            with self._connection.errors():
                response = self._events.ListEvents(request, **self._limits)
            found = map(listed_from_proto, response.events)
            events += [event for event in found if event is not None]
            if not response.next_page_token or len(events) >= most:
                return events[:most]
            request.page_token = response.next_page_token

    def acknowledge_alert(self, alert_id: str, *, by: str = "") -> None:
        """Note that somebody has seen to an alert; the first time counts."""
        with self._connection.errors():
            request = event_pb.AcknowledgeAlertRequest(alert_id=alert_id, acknowledged_by=by)
            self._events.AcknowledgeAlert(request, **self._limits)

    def list_webhooks(self) -> list[WebhookStatus]:
        """How deliveries to each webhook go."""
        with self._connection.errors():
            request = webhook_pb.ListWebhooksRequest()
            response = self._webhooks.ListWebhooks(request, **self._limits)
            return list(map(webhook_from_proto, response.webhooks))

    def replay_dead_letters(self, webhook: str) -> int:
        """Have what could not be delivered to it tried again; how many that are."""
        with self._connection.errors():
            request = webhook_pb.ReplayDeadLettersRequest(name=webhook)
            response = self._webhooks.ReplayDeadLetters(request, **self._limits)
            return int(response.dead_letters)

    def push_frames(self, stream_id: str, frames: Iterable[PushedFrame]) -> Iterator[PushAck]:
        """Give a push stream its frames; one acknowledgement for each, in their order.

        A frame is taken from `frames` only when the service has room for it, on another thread: a
        live producer gives its newest then. Go on iterating, or the frames stop. What `frames`
        raises is raised here, after the acknowledgements; FrameError for a frame beyond 16 MiB.
        """
        with self._connection.errors():
            sending = Sending(stream_id, frames)
            call = self._streams.PushFrames(sending.requests(), metadata=self._connection.metadata)
            try:
                for response in call:
                    if response.HasField("opened"):
                        sending.allow(response.opened.window_frames)
                    elif response.HasField("ack"):
                        sending.allow(1)
                        yield ack_from_proto(response.ack)
            finally:
                sending.close()
                call.cancel()
        if sending.failure is not None:
            raise sending.failure
