"""The client for asyncio: what `Client` does, with coroutines and asynchronous iterators."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from streamvlm.alerts import AlertRule
from streamvlm.connection import DEFAULT_ADDRESS, OPTIONS, Connection
from streamvlm.erasure import Erased
from streamvlm.sending import AsyncSending
from streamvlm.types import Found, Sampling, StreamStatus, UtcInterval
from streamvlm.wire.alerts import GivenAlert, ListedEvent, given_from_proto, listed_from_proto
from streamvlm.wire.answers import GivenEvent, event_from_proto, request_of
from streamvlm.wire.erasures import erased_from_proto, erasure_to_proto
from streamvlm.wire.frames import PushAck, PushedFrame, ack_from_proto
from streamvlm.wire.rules import RuleTrial, rule_from_proto, rule_to_proto, trial_from_proto
from streamvlm.wire.searches import found_from_proto, search_request
from streamvlm.wire.status import stream_from_proto
from streamvlm.wire.v1 import event_service_pb2 as event_pb
from streamvlm.wire.v1 import rule_service_pb2 as rule_pb
from streamvlm.wire.v1 import stream_service_pb2 as pb
from streamvlm.wire.v1 import webhook_service_pb2 as webhook_pb
from streamvlm.wire.v1.event_service_pb2_grpc import EventServiceStub
from streamvlm.wire.v1.query_service_pb2_grpc import QueryServiceStub
from streamvlm.wire.v1.rule_service_pb2_grpc import RuleServiceStub
from streamvlm.wire.v1.stream_service_pb2_grpc import StreamServiceStub
from streamvlm.wire.v1.webhook_service_pb2_grpc import WebhookServiceStub
from streamvlm.wire.webhooks import WebhookStatus, webhook_from_proto


class AsyncClient:
    """Talks to one service, inside one event loop; leaving its `async with` block closes it.

    Takes, gives and raises what `Client` does.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_seconds: float = 30.0,
        api_key: str = "",
        tls_root_certificates: bytes | None = None,
    ) -> None:
        """As of `Client`; made where the event loop runs."""
        self._connection = Connection(
            address=address,
            timeout_seconds=timeout_seconds,
            api_key=api_key,
            tls_root_certificates=tls_root_certificates,
        )
        self._limits = {"timeout": timeout_seconds, "metadata": self._connection.metadata}
        credentials = self._connection.credentials
        self._channel = (
            grpc.aio.secure_channel(address, credentials, options=OPTIONS)
            if credentials
            else grpc.aio.insecure_channel(address, options=OPTIONS)
        )
        self._streams = StreamServiceStub(self._channel)
        self._questions = QueryServiceStub(self._channel)
        self._rules = RuleServiceStub(self._channel)
        self._events = EventServiceStub(self._channel)
        self._webhooks = WebhookServiceStub(self._channel)
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls and the connection."""
        self._connection.is_closed = True
        await self._channel.close()

    async def is_serving(self) -> bool:
        """Whether the service is ready for calls; it is there where this does not raise."""
        with self._connection.errors():
            response = await self._health.Check(health_pb2.HealthCheckRequest(), **self._limits)
            return bool(response.status == health_pb2.HealthCheckResponse.SERVING)

    async def create_stream(
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
            response = await self._streams.CreateStream(request, **self._limits)
            return stream_from_proto(response.stream)

    async def get_stream(self, stream_id: str) -> StreamStatus:
        """One stream."""
        with self._connection.errors():
            request = pb.GetStreamRequest(stream_id=stream_id)
            response = await self._streams.GetStream(request, **self._limits)
            return stream_from_proto(response.stream)

    async def list_streams(self) -> list[StreamStatus]:
        """All streams, by id."""
        streams: list[StreamStatus] = []
        request = pb.ListStreamsRequest()
        while True:
            with self._connection.errors():
                response = await self._streams.ListStreams(request, **self._limits)
            streams += map(stream_from_proto, response.streams)
            if not response.next_page_token:
                return streams
            request.page_token = response.next_page_token

    async def delete_stream(self, stream_id: str, *, request_id: str = "") -> None:
        """Stop watching, and forget all that was seen."""
        with self._connection.errors():
            request = pb.DeleteStreamRequest(stream_id=stream_id, request_id=request_id)
            await self._streams.DeleteStream(request, **self._limits)

    async def erase_stream(self, stream_id: str, during: UtcInterval) -> Erased:
        """Forget what was seen then; watching goes on. May be repeated."""
        with self._connection.errors():
            request = erasure_to_proto(stream_id, during)
            return erased_from_proto(await self._streams.EraseStream(request, **self._limits))

    async def ask(
        self,
        stream_id: str,
        text: str,
        sampling: Sampling | None = None,
        *,
        during: UtcInterval | None = None,
    ) -> AsyncIterator[GivenEvent]:
        """The events of an answer as they come; closing the iterator ends the answer."""
        with self._connection.errors():
            request = request_of(stream_id, text, sampling, during)
            call = self._questions.Ask(request, **self._limits)
            try:
                async for response in call:
                    if (event := event_from_proto(response)) is not None:
                        yield event
            finally:
                call.cancel()

    async def search(
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
            return found_from_proto(await self._questions.Search(request, **self._limits))

    async def create_rule(self, rule: AlertRule, *, request_id: str = "") -> AlertRule:
        """Arm a standing question."""
        with self._connection.errors():
            request = rule_pb.CreateRuleRequest(rule=rule_to_proto(rule), request_id=request_id)
            response = await self._rules.CreateRule(request, **self._limits)
            return rule_from_proto(response.rule)

    async def update_rule(self, rule: AlertRule, *, request_id: str = "") -> AlertRule:
        """Arm a standing question in the place of the one with its id."""
        with self._connection.errors():
            request = rule_pb.UpdateRuleRequest(rule=rule_to_proto(rule), request_id=request_id)
            response = await self._rules.UpdateRule(request, **self._limits)
            return rule_from_proto(response.rule)

    async def get_rule(self, rule_id: str) -> AlertRule:
        """One rule."""
        with self._connection.errors():
            request = rule_pb.GetRuleRequest(rule_id=rule_id)
            response = await self._rules.GetRule(request, **self._limits)
            return rule_from_proto(response.rule)

    async def list_rules(self) -> list[AlertRule]:
        """All rules, by id."""
        rules: list[AlertRule] = []
        request = rule_pb.ListRulesRequest()
        while True:
            with self._connection.errors():
                response = await self._rules.ListRules(request, **self._limits)
            rules += map(rule_from_proto, response.rules)
            if not response.next_page_token:
                return rules
            request.page_token = response.next_page_token

    async def delete_rule(self, rule_id: str, *, request_id: str = "") -> None:
        """Disarm a rule; what it was firing about expires."""
        with self._connection.errors():
            request = rule_pb.DeleteRuleRequest(rule_id=rule_id, request_id=request_id)
            await self._rules.DeleteRule(request, **self._limits)

    async def test_rule(self, rule: AlertRule, stream_id: str) -> RuleTrial:
        """Look at a stream once, as the rule would; changes nothing."""
        with self._connection.errors():
            request = rule_pb.TestRuleRequest(rule=rule_to_proto(rule), stream_id=stream_id)
            return trial_from_proto(await self._rules.TestRule(request, **self._limits))

    async def subscribe(
        self, *, resume_token: str = "", stream_ids: Iterable[str] = ()
    ) -> AsyncIterator[GivenAlert]:
        """Alerts, and cameras lost and back, as they come, from behind the token or from now on;
        closing the iterator ends the subscription.
        """
        with self._connection.errors():
            request = event_pb.SubscribeRequest(
                resume_token=resume_token, stream_ids=list(stream_ids)
            )
            call = self._events.Subscribe(request, metadata=self._connection.metadata)
            try:
                async for response in call:
                    if (given := given_from_proto(response)) is not None:
                        yield given
            finally:
                call.cancel()

    async def list_events(
        self, *, most: int = 100, stream_ids: Iterable[str] = ()
    ) -> list[ListedEvent]:
        """What happened of late, the newest first, at most so many."""
        events = list[ListedEvent]()
        request = event_pb.ListEventsRequest(page_size=min(most, 1000), stream_ids=list(stream_ids))
        while True:
            with self._connection.errors():
                response = await self._events.ListEvents(request, **self._limits)
            found = map(listed_from_proto, response.events)
            events += [event for event in found if event is not None]
            if not response.next_page_token or len(events) >= most:
                return events[:most]
            request.page_token = response.next_page_token

    async def acknowledge_alert(self, alert_id: str, *, by: str = "") -> None:
        """Note that somebody has seen to an alert; the first time counts."""
        with self._connection.errors():
            request = event_pb.AcknowledgeAlertRequest(alert_id=alert_id, acknowledged_by=by)
            await self._events.AcknowledgeAlert(request, **self._limits)

    async def list_webhooks(self) -> list[WebhookStatus]:
        """How deliveries to each webhook go."""
        with self._connection.errors():
            request = webhook_pb.ListWebhooksRequest()
            response = await self._webhooks.ListWebhooks(request, **self._limits)
            return list(map(webhook_from_proto, response.webhooks))

    async def replay_dead_letters(self, webhook: str) -> int:
        """Have what could not be delivered to it tried again; how many that are."""
        with self._connection.errors():
            request = webhook_pb.ReplayDeadLettersRequest(name=webhook)
            response = await self._webhooks.ReplayDeadLetters(request, **self._limits)
            return int(response.dead_letters)

    async def push_frames(
        self, stream_id: str, frames: AsyncIterable[PushedFrame]
    ) -> AsyncIterator[PushAck]:
        """Give a push stream its frames; one acknowledgement for each, in their order.

        A frame is taken from `frames` only when the service has room for it: a live producer gives
        its newest then. Go on iterating, or the frames stop. What `frames` raises is raised here,
        after the acknowledgements; FrameError for a frame beyond 16 MiB.
        """
        with self._connection.errors():
            sending = AsyncSending(stream_id, frames)
            call = self._streams.PushFrames(sending.requests(), metadata=self._connection.metadata)
            try:
                async for response in call:
                    if response.HasField("opened"):
                        sending.allow(response.opened.window_frames)
                    elif response.HasField("ack"):
                        sending.allow(1)
                        yield ack_from_proto(response.ack)
            finally:
                call.cancel()
                await sending.close()
        if sending.failure is not None:
            raise sending.failure
