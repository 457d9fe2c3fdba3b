"""Where a service is and how to call it, and what its errors mean; for both clients."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from grpc_status import rpc_status

from streamvlm.errors import (
    DeadlineExceededError,
    InvalidInputError,
    ServiceUnreachableError,
    StreamVLMError,
)
from streamvlm.sending import MAX_MESSAGE_BYTES
from streamvlm.wire.failures import error_from_proto

DEFAULT_ADDRESS = "127.0.0.1:50051"
OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
)

_ADDRESS = re.compile(r"[^\s:/]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


@dataclass(slots=True, kw_only=True)
class Connection:
    """One service as its caller sees it. Raises InvalidInputError where `address` is none."""

    address: str
    timeout_seconds: float
    api_key: str
    tls_root_certificates: bytes | None
    """PEM; empty for the system's, None for no TLS."""
    is_closed: bool = False

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.address):
            raise InvalidInputError(f"{self.address!r} is not an address; allowed: HOST:PORT")

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """For TLS; None without."""
        if self.tls_root_certificates is None:
            return None
        return grpc.ssl_channel_credentials(self.tls_root_certificates or None)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises what goes wrong in a call as the StreamVLMError that it means."""
        try:
            yield
        except StreamVLMError:
            raise
        except grpc.RpcError as error:
            raise self._translated(error) from None
        except UnicodeError:
            raise InvalidInputError("a text has characters that are not Unicode") from None
        except (ValueError, OverflowError) as error:
            # gRPC and protobuf check what they are given by themselves, and without a type.
            problem = "the client is closed" if self.is_closed else f"cannot be sent: {error}"
            raise InvalidInputError(problem) from None
        except grpc.aio.UsageError:
            raise InvalidInputError("the client is closed") from None

    def _translated(self, error: grpc.RpcError) -> StreamVLMError:
        status = rpc_status.from_call(error)
        told = error_from_proto(status) if status is not None else None
        if told is not None:
            return told
        code, details = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE:
            return ServiceUnreachableError(f"no streamvlm service answers on {self.address}")
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(
                f"the service on {self.address} did not finish within {self.timeout_seconds:g} s"
            )
        return StreamVLMError(f"{self.address}: {code.name}: {details}")
