"""Takes back what Redis keeps of a stretch of a stream: alerts, and the pictures in them.

Redis appends what it is told to a file, in which what is deleted stays until the file is written
anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from redis.exceptions import ResponseError

from services import keys
from services.event_log import numbered_event
from services.letters import route_names
from services.store import Store
from streamvlm.erasure import touches
from streamvlm.errors import MetadataError
from streamvlm.types import Interval, UtcInterval
from streamvlm.wire.times import instant_from_proto
from streamvlm.wire.v1 import event_service_pb2 as pb

logger = logging.getLogger(__name__)

REWRITE_SECONDS = 30.0
"""For writing 256 MB, the most that the Redis of our own holds, to a slow disk."""
_PAGE = 256
_LOOK_SECONDS = 0.05

_BLANK = """
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
    return 1
end
return 0
"""


class Redaction:
    """Every method raises MetadataError."""

    def __init__(self, store: Store) -> None:
        self._store, self._redis = store, store.redis
        self._blank = store.script(_BLANK)

    async def erase(self, stream_id: str, span: UtcInterval) -> int:
        """Delete the alerts about a stream that were seen in the span, wherever they are kept. What
        has not ended goes on without its picture. Gives how many there were among the events.
        """
        num_events = await self._delete(keys.EVENTS, stream_id, span)
        changed = num_events
        for name in await route_names(self._store):
            changed += await self._delete(keys.route(name, "dead"), stream_id, span)
        changed += await self._blank_open(stream_id, span)
        if changed:
            await self._write_anew()
        return num_events

    async def _delete(self, key: str, stream_id: str, span: UtcInterval) -> int:
        number = 0
        async for entry_ids in self._found(key, stream_id, span):
            with self._store.errors():
                number += int(await self._redis.xdel(key, *entry_ids))
        return number

    async def _found(
        self, key: str, stream_id: str, span: UtcInterval
    ) -> AsyncIterator[list[bytes]]:
        """Ids of entries about it, some at a time."""
        after = "-"
        while True:
            with self._store.errors():
                entries = await self._redis.xrange(key, min=after, count=_PAGE)
            if not entries:
                return
            found = [
                entry_id
                for entry_id, fields in entries
                if _is_about(numbered_event(0, fields[b"event"]).event, stream_id, span)
            ]
            if found:
                yield found
            after = f"({entries[-1][0].decode()}"

    async def _blank_open(self, stream_id: str, span: UtcInterval) -> int:
        with self._store.errors():
            known = await self._redis.hgetall(keys.OPEN_ALERTS)
        number = 0
        for field, value in known.items():
            event = numbered_event(0, value).event
            if _is_about(event, stream_id, span) and event.alert.thumbnail:
                event.alert.thumbnail = b""
                with self._store.errors():
                    told = [field, value, event.SerializeToString()]
                    number += int(await self._blank([keys.OPEN_ALERTS], told))
        return number

    async def _write_anew(self) -> None:
        """Return when the file of Redis holds what Redis holds, and no more."""
        try:
            async with asyncio.timeout(REWRITE_SECONDS):
                with self._store.errors():
                    await self._until_written()
                    if not (await self._redis.info("persistence")).get("aof_enabled"):
                        return
                    await self._redis.bgrewriteaof()
                    await self._until_written()
        except TimeoutError:
            raise MetadataError(
                f"Redis has not written its file anew within {REWRITE_SECONDS:g} s"
            ) from None
        except MetadataError as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            # One that is not ours may forbid it; whoever runs it says how long its files live.
            logger.warning(
                "what was erased is in the files of Redis until it writes them: %s", error
            )

    async def _until_written(self) -> None:
        while True:
            told = await self._redis.info("persistence")
            if not (told.get("aof_rewrite_in_progress") or told.get("aof_rewrite_scheduled")):
                return
            await asyncio.sleep(_LOOK_SECONDS)


def _is_about(event: pb.Event, stream_id: str, span: UtcInterval) -> bool:
    if not event.HasField("alert") or event.alert.stream_id != stream_id:
        return False
    observed = instant_from_proto(event.alert.observed)
    return touches(span, Interval(start=observed, end=observed))
