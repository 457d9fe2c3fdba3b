"""EventService: alerts go to whoever subscribes."""

from __future__ import annotations

import asyncio

import grpc

from services.host import EngineHost
from services.ids import checked_stream_id
from streamvlm.wire.alerts import alert_to_proto
from streamvlm.wire.v1 import event_service_pb2 as pb
from streamvlm.wire.v1.event_service_pb2_grpc import EventServiceServicer

HEARTBEAT_SECONDS = 15.0

_Context = grpc.aio.ServicerContext[pb.SubscribeRequest, pb.SubscribeResponse]


class EventServicer(EventServiceServicer):
    """Writes alerts as they come. Errors go to `FailureMapper`."""

    def __init__(self, host: EngineHost) -> None:
        self._host = host

    async def Subscribe(self, request: pb.SubscribeRequest, context: _Context) -> None:
        """Alerts behind the token, or from now on; a heartbeat where there are none for a while."""
        log, wanted = self._host.alerts, {checked_stream_id(each) for each in request.stream_ids}
        with log.subscribe():
            number = log.number_of(request.resume_token)
            if number is None:
                number = log.oldest
                await context.write(self._response(number, lagged=pb.Lagged()))
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        found, alert = await log.read(number)
                except TimeoutError:
                    await context.write(self._response(number, heartbeat=pb.Heartbeat()))
                    continue
                if found > number:
                    lagged = pb.Lagged(skipped=found - number)
                    await context.write(self._response(found, lagged=lagged))
                number = found + 1
                if not wanted or alert.stream_id in wanted:
                    await context.write(self._response(number, alert=alert_to_proto(alert)))
                    self._host.engine.rules.delivered(alert)

    def _response(
        self,
        number: int,
        *,
        alert: pb.Alert | None = None,
        lagged: pb.Lagged | None = None,
        heartbeat: pb.Heartbeat | None = None,
    ) -> pb.SubscribeResponse:
        return pb.SubscribeResponse(
            resume_token=self._host.alerts.token(number),
            alert=alert,
            lagged=lagged,
            heartbeat=heartbeat,
        )
