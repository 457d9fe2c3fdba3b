"""How calls end with their service, whatever they were doing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.calls import Handler
from services.server import Part, listening
from streamvlm.wire.v1 import event_service_pb2 as pb
from streamvlm.wire.v1.event_service_pb2_grpc import (
    EventServiceServicer,
    EventServiceStub,
    add_EventServiceServicer_to_server,
)
from tests.services.serving import Serving, until

NO_WINDOW = (("grpc.http2.lookahead_bytes", 5), ("grpc.http2.bdp_probe", 0))
"""Of a client: a message is on its way until it is read."""


def test_the_first_message_may_be_on_its_way_when_the_service_stops() -> None:
    with (
        Serving() as serving,
        grpc.insecure_channel(serving.address, options=NO_WINDOW) as channel,
    ):
        call = EventServiceStub(channel).Subscribe(pb.SubscribeRequest())
        until(lambda: serving.services.gateway.num_subscribers == 1)
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        until(lambda: serving.services.gateway.num_subscribers == 0)
        assert next(call).HasField("heartbeat")
        assert call.code() is grpc.StatusCode.UNAVAILABLE
        assert call.details() == "the service is stopping"
        stopping.join()


class Door(grpc.aio.ServerInterceptor):
    """Holds up the calls of our services."""

    def __init__(self) -> None:
        self.is_reached, self.is_open = asyncio.Event(), asyncio.Event()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        if handler_call_details.method.startswith("/streamvlm."):
            self.is_reached.set()
            await self.is_open.wait()
        return handler


class Endless(EventServiceServicer):
    async def Subscribe(
        self,
        request: pb.SubscribeRequest,
        context: grpc.aio.ServicerContext[pb.SubscribeRequest, pb.SubscribeResponse],
    ) -> None:
        await asyncio.Event().wait()


async def test_a_call_that_came_just_before_the_stop_ends_with_it() -> None:
    door = Door()
    name = pb.DESCRIPTOR.services_by_name["EventService"].full_name
    part = Part(name, add_EventServiceServicer_to_server, Endless())
    running = listening("127.0.0.1:0", [part], interceptors=[door])
    listens = await running.__aenter__()
    async with grpc.aio.insecure_channel(listens.address) as channel:
        await listens.announce(True)
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await health.read()
        call = EventServiceStub(channel).Subscribe(pb.SubscribeRequest())
        await door.is_reached.wait()
        stopping = asyncio.create_task(running.__aexit__(None, None, None))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        door.is_open.set()
        assert await call.details() == "the service is stopping"
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        health.cancel()
        await stopping
