"""Calls to our own other processes: kept connections, and their errors as ours."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from grpc_status import rpc_status

from streamvlm.connection import OPTIONS
from streamvlm.errors import DeadlineExceededError, EngineStoppedError, StreamVLMError
from streamvlm.wire.failures import error_from_proto

_MOST_CHANNELS = 64
_OPTIONS = (
    *OPTIONS,
    # A process that comes back is there within a second, not after a minute of patience.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class Channels:
    """One connection for each address, the most used of late."""

    def __init__(self) -> None:
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()

    def to(self, address: str) -> grpc.aio.Channel:
        """The connection to this address."""
        channel = self._channels.pop(address, None)
        if channel is None:
            channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._channels[address] = channel
        # The oldest go without being closed: a call may still be on one, and keeps it then.
        while len(self._channels) > _MOST_CHANNELS:
            self._channels.popitem(last=False)
        return channel

    async def close(self) -> None:
        """End all connections and what is on them."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


@contextmanager
def relayed(what: str) -> Iterator[None]:
    """Raises what another process of ours told as the error that it was there; EngineStoppedError
    where `what` cannot be reached.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _told_by(error, what) from None


def _told_by(error: grpc.aio.AioRpcError, what: str) -> StreamVLMError:
    """What the error of a call means."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:
        status = None
    if status is not None and (told := error_from_proto(status)) is not None:
        return told
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError("the time that the caller gave is over")
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return EngineStoppedError(f"{what} cannot be reached now; try again soon")
    return StreamVLMError(f"{what}: {error.code().name}: {error.details()}")
