"""The service: gRPC server and engine, from start to graceful stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from services.calls import OpenCalls
from services.events import EventServicer
from services.failures import FailureMapper
from services.host import EngineHost
from services.query import QueryServicer
from services.rules import RuleServicer
from services.streams import StreamServicer
from services.threads import Threads
from streamvlm.config import Config
from streamvlm.errors import AddressInUseError, ConfigError, StreamVLMError
from streamvlm.wire.v1 import (
    event_service_pb2,
    query_service_pb2,
    rule_service_pb2,
    stream_service_pb2,
)
from streamvlm.wire.v1.event_service_pb2_grpc import add_EventServiceServicer_to_server
from streamvlm.wire.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from streamvlm.wire.v1.rule_service_pb2_grpc import add_RuleServiceServicer_to_server
from streamvlm.wire.v1.stream_service_pb2_grpc import add_StreamServiceServicer_to_server

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""What answers that are being given have left when the service is told to stop. With the 2 s that
decoders may take to end, well below the 10 s after which Docker kills."""
LAST_WORDS_SECONDS = 1.0
"""What answers have to hear that the engine has stopped."""

MAX_MESSAGE_BYTES = 16 * 2**20
MAX_CALLS = 256
"""Of ours; health and reflection get through beyond that."""

SERVICES = (
    stream_service_pb2.DESCRIPTOR.services_by_name["StreamService"].full_name,
    query_service_pb2.DESCRIPTOR.services_by_name["QueryService"].full_name,
    rule_service_pb2.DESCRIPTOR.services_by_name["RuleService"].full_name,
    event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name,
)

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Otherwise a second service could take the same port, and each would get half of the calls.
    ("grpc.so_reuseport", 0),
    # Our client pings every 30 s; a server that does not expect it would close the connection.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A pusher whose network is gone must not keep its stream from the next one for hours.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # New calls find new balancing; calls on their way may end in peace.
    ("grpc.max_connection_age_ms", 30 * 60 * 1000),
)


def serve(
    config: Config, address: str, *, on_ready: Callable[[str], None] = lambda address: None
) -> None:
    """Run the service until SIGTERM or SIGINT; `on_ready` hears the address that it listens on.

    Raises ConfigError, CheckpointError, AddressInUseError where it cannot start, and StreamVLMError
    where the engine failed.
    """
    # While the model is being loaded there is nothing to end gracefully: Ctrl-C just ends it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    uvloop.run(_serve(config, address, on_ready))


async def _serve(config: Config, address: str, on_ready: Callable[[str], None]) -> None:
    must_stop = asyncio.Event()
    async with running(config, address) as (bound, host):
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, must_stop.set)
        host.running.add_done_callback(lambda running: must_stop.set())
        on_ready(bound)
        await must_stop.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
            # Who asks a second time has no patience left.
            signal.signal(number, signal.SIG_DFL)
        logger.info("stopping; answers have %g s to end", GRACE_SECONDS)
    if (failure := host.running.exception()) is not None:
        logger.critical("the engine failed", exc_info=failure)
        raise StreamVLMError("the engine failed; the log of the service has the details")


@asynccontextmanager
async def running(
    config: Config, address: str, *, grace_seconds: float = GRACE_SECONDS
) -> AsyncIterator[tuple[str, EngineHost]]:
    """The service while it runs: the address it listens on, with the real port, and its engine."""
    host, threads, calls = EngineHost(config), Threads(), OpenCalls(MAX_CALLS)
    streams, rules = StreamServicer(host, threads), RuleServicer(host)
    health_servicer = health.HealthServicer()
    server = grpc.aio.server(
        interceptors=[FailureMapper(), calls],
        options=_OPTIONS,
        # Behind our own limit, which says more and lets probes of health through.
        maximum_concurrent_rpcs=2 * MAX_CALLS,
    )
    add_StreamServiceServicer_to_server(streams, server)
    add_QueryServiceServicer_to_server(QueryServicer(host), server)
    add_RuleServiceServicer_to_server(rules, server)
    add_EventServiceServicer_to_server(EventServicer(host), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names = (*SERVICES, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    bound = _bind(server, address)
    await _announce(health_servicer, health_pb2.HealthCheckResponse.NOT_SERVING)
    await server.start()
    try:
        await host.start()
        await _announce(health_servicer, health_pb2.HealthCheckResponse.SERVING)
        logger.info("serving on %s", bound)
        yield bound, host
    finally:
        await health_servicer.enter_graceful_shutdown()
        # No call begins from here on, and only answers have the time of grace.
        stopping = asyncio.create_task(server.stop(grace_seconds + LAST_WORDS_SECONDS))
        calls.end_all_but_answers()
        await asyncio.gather(streams.close(), rules.close(), calls.wait_for_answers(grace_seconds))
        await host.stop()
        await calls.wait_for_answers(LAST_WORDS_SECONDS)
        await server.stop(None)
        await stopping
        await asyncio.to_thread(threads.close)


async def _announce(
    servicer: health.HealthServicer, status: health_pb2.HealthCheckResponse.ServingStatus
) -> None:
    for name in ("", *SERVICES):
        await servicer.set(name, status)


def _bind(server: grpc.aio.Server, address: str) -> str:
    """Listen; the address with the port that it got. Raises ConfigError, AddressInUseError."""
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"cannot listen on {address!r}; allowed: HOST:PORT, with port 0 to 65535")
    # gRPC does not tell why it could not bind, so a socket of our own finds out first.
    try:
        _try_to_bind(host.strip("[]"), int(port))
        bound_port = server.add_insecure_port(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(f"another process listens on {address}") from error
        raise ConfigError(f"cannot listen on {address}: {error.strerror}") from error
    except RuntimeError as error:
        raise AddressInUseError(f"cannot listen on {address}") from error
    if host not in _LOOPBACK:
        logger.warning("listening on %s without TLS and passwords: keep it on a safe network", host)
    return f"{host}:{bound_port}"


def _try_to_bind(host: str, port: int) -> None:
    for family, kind, protocol, _, where in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
