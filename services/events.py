"""The gateway's EventService: what happened goes to whoever subscribes, and is listed."""

from __future__ import annotations

import asyncio
import time

import grpc

from services.event_log import EventLog
from services.ids import checked_request_id, checked_stream_id
from services.pages import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from streamvlm.errors import AlertNotFoundError, CapacityError, InvalidInputError, MetadataError
from streamvlm.wire.v1 import event_service_pb2 as pb
from streamvlm.wire.v1.event_service_pb2_grpc import EventServiceServicer

HEARTBEAT_SECONDS = 15.0
MAX_SUBSCRIBERS = 64
_RETRY_SECONDS = 0.5

_UnaryContext = grpc.aio.ServicerContext[object, object]
_Context = grpc.aio.ServicerContext[pb.SubscribeRequest, pb.SubscribeResponse]


class EventServicer(EventServiceServicer):
    """Reads events for callers. Errors go to `FailureMapper`."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.num_subscribers = 0
        """Readers of now."""

    async def Subscribe(self, request: pb.SubscribeRequest, context: _Context) -> None:
        """Events behind the token, or from now on; a heartbeat where there are none for a while."""
        wanted = {checked_stream_id(each) for each in request.stream_ids}
        if self.num_subscribers >= MAX_SUBSCRIBERS:
            raise CapacityError(f"{MAX_SUBSCRIBERS} subscribe to events, no more can")
        run = await self._log.run()
        number = await self._number_of(request.resume_token, run)
        self.num_subscribers += 1
        try:
            await self._tell(run, number, wanted, context)
        finally:
            self.num_subscribers -= 1

    async def _tell(
        self, run: str, number: int | None, wanted: set[str], context: _Context
    ) -> None:
        """Events behind this number; from the oldest on where there is none."""
        first = pb.SubscribeResponse(heartbeat=pb.Heartbeat())
        if number is None:
            number = await self._log.oldest() - 1
            first = pb.SubscribeResponse(lagged=pb.Lagged())
        first.resume_token = f"{run}-{number}"
        await context.write(first)
        heard_at = time.monotonic()
        while True:
            try:
                events = await self._log.after(number, HEARTBEAT_SECONDS)
            except MetadataError:
                # What happens meanwhile is told when Redis is back.
                events = []
                await asyncio.sleep(_RETRY_SECONDS)
            for event in events:
                if event.number > number + 1:
                    missed = pb.Lagged(skipped=event.number - number - 1)
                    token = f"{run}-{event.number - 1}"
                    await context.write(pb.SubscribeResponse(resume_token=token, lagged=missed))
                number = event.number
                if response := _response(event.event, f"{run}-{number}", wanted):
                    await context.write(response)
                    heard_at = time.monotonic()
                    await self._note(event.event)
            if time.monotonic() - heard_at >= HEARTBEAT_SECONDS:
                heard_at = time.monotonic()
                beat = pb.SubscribeResponse(
                    resume_token=f"{run}-{number}", heartbeat=pb.Heartbeat()
                )
                await context.write(beat)

    async def _note(self, event: pb.Event) -> None:
        """An alert reached somebody."""
        if event.WhichOneof("event") == "alert":
            try:
                await self._log.note_delivery(event.alert)
            except MetadataError:
                return  # its rule is not quiet then: rather twice than never

    async def _number_of(self, token: str, run: str) -> int | None:
        """Behind which number to go on: the newest without a token; None for a token of another
        history, or of none.
        """
        newest = await self._log.newest()
        if not token:
            return newest
        token_run, _, number = token.partition("-")
        is_ours = token_run == run and number.isdecimal() and len(number) < 16
        return int(number) if is_ours and int(number) <= newest else None

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: _UnaryContext
    ) -> pb.ListEventsResponse:
        """A page of what happened, the newest first."""
        wanted = {checked_stream_id(each) for each in request.stream_ids}
        if request.page_size < 0:
            raise InvalidInputError(f"page_size = {request.page_size}; allowed: 0 and above")
        most = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        found = await self._log.before(_before(request.page_token), most)
        events = [each.event for each in found if not wanted or _stream_id(each.event) in wanted]
        known = await self._log.acknowledgements(
            event.alert.alert_id for event in events if event.HasField("alert")
        )
        for event in events:
            if acknowledgement := known.get(event.alert.alert_id):
                event.acknowledgement.CopyFrom(acknowledgement)
        token = str(found[-1].number) if len(found) == most and found[-1].number > 1 else ""
        return pb.ListEventsResponse(events=events, next_page_token=token)

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: _UnaryContext
    ) -> pb.AcknowledgeAlertResponse:
        """Note who has seen to an alert."""
        alert_id = checked_request_id(request.alert_id, "an alert id")
        by = checked_request_id(request.acknowledged_by, "a name")
        acknowledgement = await self._log.acknowledge(alert_id, by)
        if acknowledgement is None:
            raise AlertNotFoundError(f"no alert {alert_id!r}, or not any more")
        return pb.AcknowledgeAlertResponse(acknowledgement=acknowledgement)


def _response(event: pb.Event, token: str, wanted: set[str]) -> pb.SubscribeResponse | None:
    if wanted and _stream_id(event) not in wanted:
        return None
    match event.WhichOneof("event"):
        case "alert":
            return pb.SubscribeResponse(resume_token=token, alert=event.alert)
        case "camera":
            return pb.SubscribeResponse(resume_token=token, camera=event.camera)
        case _:
            return None


def _stream_id(event: pb.Event) -> str:
    return event.alert.stream_id or event.camera.stream_id


def _before(token: str) -> int | None:
    if not token:
        return None
    if not (token.isdecimal() and len(token) < 16):
        raise InvalidInputError("page_token: not the next_page_token of a page")
    return int(token)
