"""A gRPC server, from listening to its graceful end; every service of ours is on one."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection

from services.calls import OpenCalls
from services.failures import FailureMapper
from services.metrics import CallMeter
from streamvlm.errors import AddressInUseError, ConfigError

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""What answers that are being given have left when the service is told to stop. With the 2 s that
decoders may take to end, well below the 10 s after which Docker kills."""
LAST_WORDS_SECONDS = 1.0
"""What calls have to hear that the service stops."""

MAX_MESSAGE_BYTES = 16 * 2**20
MAX_INTERNAL_CALLS = 4096
"""Of our own processes: each stream is one. Health and reflection get through beyond that."""
_PROBES = 64

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
)


@dataclass(frozen=True, slots=True)
class Part:
    """One gRPC service on a server."""

    name: str
    """Its full name."""
    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any

    @classmethod
    def of(
        cls, module: Any, name: str, add: Callable[[Any, grpc.aio.Server], None], servicer: Any
    ) -> Part:
        """The service of this short name in a generated module."""
        return cls(module.DESCRIPTOR.services_by_name[name].full_name, add, servicer)


class Listening:
    """A server that listens."""

    def __init__(self, address: str, names: Sequence[str], servicer: health.HealthServicer) -> None:
        self.address = address
        """With the port that it got."""
        self._names, self._health = names, servicer
        self._is_serving: bool | None = None

    async def announce(self, is_serving: bool) -> None:
        """Tell whoever asks for our health."""
        if is_serving is self._is_serving:
            return
        self._is_serving = is_serving
        status = health_pb2.HealthCheckResponse
        for name in ("", *self._names):
            await self._health.set(name, status.SERVING if is_serving else status.NOT_SERVING)


@asynccontextmanager
async def listening(
    address: str,
    parts: Sequence[Part],
    *,
    grace_seconds: float = GRACE_SECONDS,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
    credentials: grpc.ServerCredentials | None = None,
    max_calls: int = MAX_INTERNAL_CALLS,
    options: Sequence[tuple[str, int]] = (),
) -> AsyncIterator[Listening]:
    """A server with these services while it runs; healthy as soon as `announce` says so.

    When it ends, answers have `grace_seconds`. Raises ConfigError, AddressInUseError.
    """
    calls, health_servicer = OpenCalls(max_calls), health.HealthServicer()
    server = grpc.aio.server(
        interceptors=[CallMeter(), FailureMapper(), *interceptors, calls],
        options=(*_OPTIONS, *options),
        # Behind our own limit, which says more and lets probes of health through.
        maximum_concurrent_rpcs=2 * max_calls + _PROBES,
    )
    for part in parts:
        part.add(part.servicer, server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    names = tuple(part.name for part in parts)
    health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    reflection.enable_server_reflection((*names, health_name, reflection.SERVICE_NAME), server)
    listens = Listening(_bind(server, address, credentials), names, health_servicer)
    await listens.announce(False)
    await server.start()
    try:
        yield listens
    finally:
        await health_servicer.enter_graceful_shutdown()
        # No call begins from here on, and only answers have the time of grace.
        # It is cut off below, by our own clock.
        stopping = asyncio.create_task(server.stop(grace_seconds + 10 * LAST_WORDS_SECONDS))
        others = asyncio.create_task(calls.end_all_but_answers(LAST_WORDS_SECONDS))
        await calls.wait_for_answers(grace_seconds)
        await calls.end_answers(LAST_WORDS_SECONDS)
        await others
        # What they were told is on its way; nobody is cut off who can still hear it.
        await asyncio.wait({stopping}, timeout=LAST_WORDS_SECONDS)
        await server.stop(None)
        await stopping


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    """Listen; the address with the port that it got. Raises ConfigError, AddressInUseError."""
    host, separator, port = address.rpartition(":")
    if not (separator and host and port.isdecimal() and int(port) < 2**16):
        raise ConfigError(f"cannot listen on {address!r}; allowed: HOST:PORT, with port 0 to 65535")
    # gRPC does not tell why it could not bind, so a socket of our own finds out first.
    try:
        _try_to_bind(host.strip("[]"), int(port))
        if credentials is not None:
            bound_port = server.add_secure_port(address, credentials)
        else:
            bound_port = server.add_insecure_port(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(f"another process listens on {address}") from error
        raise ConfigError(f"cannot listen on {address}: {error.strerror}") from error
    except RuntimeError as error:
        raise AddressInUseError(f"cannot listen on {address}") from error
    if host not in _LOOPBACK and credentials is None:
        logger.warning("listening on %s without TLS: keep it on a safe network", host)
    return f"{host}:{bound_port}"


def _try_to_bind(host: str, port: int) -> None:
    for family, kind, protocol, _, where in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(where)
