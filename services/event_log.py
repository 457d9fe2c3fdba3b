"""Events in Redis: written once, in one step with the state they lead to, numbered without holes.

A worker that lost its stream to another may not write any more. A reader goes on behind any number
that is still kept, and is told how many it missed.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from services import keys
from services.store import Store
from streamvlm.alerts import Alert, CameraChange, CameraState
from streamvlm.errors import FencedError, MetadataError
from streamvlm.wire.alerts import event_from_proto, event_to_proto
from streamvlm.wire.v1 import event_service_pb2 as pb

_PUBLISH = """
if tonumber(redis.call('GET', KEYS[5]) or '0') > tonumber(ARGV[1]) then return -1 end
local told = redis.call('GET', KEYS[3])
if told and tonumber(told) >= tonumber(ARGV[2]) then return 0 end
local number = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], number .. '-0', 'event', ARGV[3])
redis.call('SET', KEYS[3], ARGV[2], 'EX', ARGV[7])
if ARGV[5] == '1' then redis.call('HDEL', KEYS[4], ARGV[4])
else redis.call('HSET', KEYS[4], ARGV[4], ARGV[3]) end
return number
"""


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event as it is kept."""

    number: int
    event: pb.Event


class EventLog:
    """Every method raises MetadataError."""

    def __init__(self, store: Store) -> None:
        self._store, self._redis = store, store.redis
        self._publish = store.script(_PUBLISH)
        self._run = ""

    async def publish(self, event: Alert | CameraChange, epoch: int) -> None:
        """Keep an event, and what is open after it; one that is kept already changes nothing.

        Raises FencedError where the stream has an owner newer than `epoch`.
        """
        if isinstance(event, Alert):
            identity, revision = event.alert_id, event.revision
            state, field = keys.OPEN_ALERTS, f"{event.rule_id}/{event.stream_id}"
            is_over = event.is_over
        else:
            is_over = event.state is CameraState.RECOVERED
            identity, revision = event.outage_id, int(is_over)
            state, field = keys.OUTAGES, event.stream_id
        with self._store.errors():
            number = await self._publish(
                [
                    keys.EVENTS,
                    keys.EVENTS_NUMBER,
                    keys.told(identity),
                    state,
                    keys.epoch(event.stream_id),
                ],
                [
                    epoch,
                    revision,
                    event_to_proto(event).SerializeToString(),
                    field,
                    int(is_over),
                    keys.MAX_EVENTS,
                    keys.TOLD_SECONDS,
                ],
            )
        if number == -1:
            raise FencedError(f"another worker holds stream {event.stream_id!r} by now")

    async def open_alerts(self) -> list[Alert]:
        """Those that have not ended."""
        return [each for each in await self._open(keys.OPEN_ALERTS) if isinstance(each, Alert)]

    async def outages(self) -> dict[str, CameraChange]:
        """Stream -> outage that has not ended."""
        found = await self._open(keys.OUTAGES)
        return {each.stream_id: each for each in found if isinstance(each, CameraChange)}

    async def forget_outage(self, stream_id: str) -> None:
        """The stream is not watched any more: nobody can tell when the outage ends."""
        with self._store.errors():
            await self._redis.hdel(keys.OUTAGES, stream_id)

    async def _open(self, key: str) -> list[Alert | CameraChange]:
        with self._store.errors():
            values = await self._redis.hvals(key)
        found = (event_from_proto(_event(value)) for value in values)
        return [event for event in found if event is not None]

    async def run(self) -> str:
        """The name of this history."""
        if not self._run:
            with self._store.errors():
                await self._redis.set(keys.EVENTS_RUN, uuid.uuid4().hex[:12], nx=True)
                self._run = (await self._redis.get(keys.EVENTS_RUN)).decode()
        return self._run

    async def newest(self) -> int:
        """Number of the newest event; 0 where there was none."""
        with self._store.errors():
            return int(await self._redis.get(keys.EVENTS_NUMBER) or 0)

    async def oldest(self) -> int:
        """Number of the oldest event that is kept, or of the next where there is none."""
        with self._store.errors():
            first = await self._redis.xrange(keys.EVENTS, count=1)
        return _number(first[0][0]) if first else await self.newest() + 1

    async def after(self, number: int, timeout_seconds: float) -> list[NumberedEvent]:
        """Some of the events behind this one, in their order; waits for them until the timeout."""
        block_ms = max(1, int(timeout_seconds * 1000))
        reading = self._store.waiting.xread({keys.EVENTS: f"{number}-0"}, count=64, block=block_ms)
        found = await self._store.wait_for(reading, timeout_seconds)
        return numbered(found)

    async def before(self, number: int | None, count: int) -> list[NumberedEvent]:
        """The newest events, or those before this one, the newest first."""
        if number is not None and number <= 1:
            return []
        last = "+" if number is None else f"{number - 1}-0"
        with self._store.errors():
            entries = await self._redis.xrevrange(keys.EVENTS, max=last, count=count)
        return [_numbered(entry) for entry in entries]

    async def acknowledge(self, alert_id: str, by: str) -> pb.Acknowledgement | None:
        """Note who has seen to an alert, unless somebody has; None where there is no such alert."""
        told = json.dumps({"by": by, "seconds": time.time()})
        with self._store.errors():
            if not await self._redis.exists(keys.told(alert_id)):
                return None
            await self._redis.set(
                keys.acknowledged(alert_id), told, nx=True, ex=keys.ACKNOWLEDGED_SECONDS
            )
        return (await self.acknowledgements([alert_id])).get(alert_id)

    async def acknowledgements(self, alert_ids: Iterable[str]) -> dict[str, pb.Acknowledgement]:
        """Alert -> who has seen to it."""
        wanted = sorted(set(alert_ids))
        if not wanted:
            return {}
        with self._store.errors():
            values = await self._redis.mget([keys.acknowledged(each) for each in wanted])
        found = {}
        for alert_id, value in zip(wanted, values, strict=True):
            if value:
                known = json.loads(value)
                found[alert_id] = made = pb.Acknowledgement(acknowledged_by=known["by"])
                made.time.FromMilliseconds(round(known["seconds"] * 1000))
        return found

    async def note_delivery(self, alert: pb.Alert) -> None:
        """An alert reached somebody: its rule is quiet for a while."""
        with self._store.errors():
            entry = {"rule": alert.rule_id, "stream": alert.stream_id}
            await self._redis.xadd(
                keys.DELIVERIES, entry, maxlen=keys.MAX_DELIVERIES, approximate=True
            )

    async def deliveries(self, after: str) -> tuple[str, list[tuple[str, str]]]:
        """(rule, stream) of deliveries behind this entry, and the newest entry; waits a while.

        "$" is the newest entry of now.
        """
        reading = self._store.waiting.xread({keys.DELIVERIES: after}, count=256, block=5000)
        found = await self._store.wait_for(reading, 5.0)
        entries = _entries(found)
        pairs = [(fields[b"rule"].decode(), fields[b"stream"].decode()) for _, fields in entries]
        return (entries[-1][0].decode() if entries else after), pairs


def numbered(found: Any) -> list[NumberedEvent]:
    """What reading the stream of events gave; those that are deleted by now are left out."""
    return [_numbered(entry) for entry in _entries(found) if entry[1]]


def _entries(found: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """RESP2 gives lists; RESP3 gives a mapping, in which pages are nested once more."""
    pages = found.values() if isinstance(found, dict) else [page for _, page in found or ()]
    return [
        entry
        for page in pages
        for entry in (page[0] if page and isinstance(page[0], list) else page)
    ]


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def numbered_event(number: int, value: bytes) -> NumberedEvent:
    """An event from how it is kept. Raises MetadataError."""
    return NumberedEvent(number, _event(value))


def _numbered(entry: tuple[bytes, dict[bytes, bytes]]) -> NumberedEvent:
    entry_id, fields = entry
    return numbered_event(_number(entry_id), fields[b"event"])


def _event(value: bytes) -> pb.Event:
    try:
        return pb.Event.FromString(value)
    except DecodeError as error:
        raise MetadataError("an event in Redis is not one of ours") from error
