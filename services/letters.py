"""What is kept of one webhook in Redis: whether it wants events, and those it could not be told."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from services import keys
from services.event_log import NumberedEvent, numbered_event
from services.store import Store
from streamvlm.errors import MetadataError

logger = logging.getLogger(__name__)

_REPLAYED = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_BURY = """
local moved
if ARGV[2] == '' then moved = redis.call('XACK', KEYS[1], ARGV[1], ARGV[3] .. '-0')
else moved = redis.call('XDEL', KEYS[2], ARGV[2]) end
if moved == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], '*',
    'number', ARGV[3], 'event', ARGV[4], 'problem', ARGV[5])
return 1
"""
_GROUP = "webhook:"


@dataclass(frozen=True, slots=True)
class Letter:
    """An event on its way to one webhook."""

    event: NumberedEvent
    dead_id: str = ""
    """Where it lies among the dead letters, if it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteState:
    """How a webhook is doing."""

    name: str
    is_served: bool
    disabled_reason: str
    waiting: int
    dead_letters: int
    last_problem: str


def group(name: str) -> str:
    """The consumer group as which a webhook reads the events."""
    return _GROUP + name


class Letters:
    """Of one webhook. Every method raises MetadataError."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._redis, self._name = store, store.redis, name
        self._disabled, self._dead = keys.route(name, "disabled"), keys.route(name, "dead")
        self._replay = keys.route(name, "replay")
        self._replayed, self._bury = store.script(_REPLAYED), store.script(_BURY)

    async def is_disabled(self) -> bool:
        """Whether it said that it wants nothing any more."""
        with self._store.errors():
            return bool(await self._redis.exists(self._disabled))

    async def disable(self, why: str) -> None:
        """It said so."""
        with self._store.errors():
            await self._redis.set(self._disabled, why)

    async def done(self, letter: Letter) -> None:
        """It was delivered, or is not wanted."""
        with self._store.errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xack(keys.EVENTS, group(self._name), f"{letter.event.number}-0")
                if letter.dead_id:
                    pipe.xdel(self._dead, letter.dead_id)
                await pipe.execute()

    async def bury(self, letter: Letter, problem: str) -> None:
        """It could not be delivered. Twice is once: somebody else may have buried it."""
        with self._store.errors():
            await self._bury(
                [keys.EVENTS, self._dead],
                [
                    group(self._name),
                    letter.dead_id,
                    letter.event.number,
                    letter.event.event.SerializeToString(),
                    problem,
                    keys.MAX_DEAD,
                ],
            )

    async def replay(self) -> int:
        """Have all that are dead now tried again, and the webhook enabled; how many there are."""
        with self._store.errors():
            await self._redis.delete(self._disabled)
            newest = await self._redis.xrevrange(self._dead, count=1)
            if not newest:
                return 0
            await self._redis.set(self._replay, newest[0][0])
            return int(await self._redis.xlen(self._dead))

    async def is_replay_wanted(self) -> bool:
        """Whether somebody wants dead letters tried again."""
        with self._store.errors():
            return bool(await self._redis.exists(self._replay))

    async def next_to_replay(self) -> Letter | None:
        """The oldest dead letter that somebody wants tried again; one that cannot be read goes."""
        while True:
            with self._store.errors():
                last = await self._redis.get(self._replay)
                if last is None:
                    return None
                entries = await self._redis.xrange(self._dead, "-", last, count=1)
                if not entries:
                    await self._replayed([self._replay], [last])
                    continue
            ((dead_id, fields),) = entries
            try:
                event = numbered_event(int(fields.get(b"number", 0)), fields[b"event"])
                return Letter(event, dead_id.decode())
            except (MetadataError, KeyError, ValueError) as error:
                logger.error("dead letter %s of %s: %s", dead_id.decode(), self._name, error)
                with self._store.errors():
                    await self._redis.xdel(self._dead, dead_id)

    async def give_up_replay(self) -> None:
        """Leave the rest dead."""
        with self._store.errors():
            await self._redis.delete(self._replay)

    async def state(self) -> RouteState:
        """How it is doing."""
        with self._store.errors():
            lease, disabled = await self._redis.mget(
                keys.route(self._name, "lease"), self._disabled
            )
            newest = await self._redis.xrevrange(self._dead, count=1)
            return RouteState(
                name=self._name,
                is_served=lease is not None,
                disabled_reason=(disabled or b"").decode(),
                waiting=await self._waiting(),
                dead_letters=int(await self._redis.xlen(self._dead)),
                last_problem=newest[0][1][b"problem"].decode() if newest else "",
            )

    async def _waiting(self) -> int:
        if not await self._redis.exists(keys.EVENTS):
            return 0
        for found in await self._redis.xinfo_groups(keys.EVENTS):
            if found["name"].decode() == group(self._name):
                return int(found["pending"]) + int(found["lag"] or 0)
        return 0


async def route_names(store: Store) -> list[str]:
    """The webhooks that a notifier has served, sorted. Raises MetadataError."""
    with store.errors():
        if not await store.redis.exists(keys.EVENTS):
            return []
        names = [each["name"].decode() for each in await store.redis.xinfo_groups(keys.EVENTS)]
    return sorted(name.removeprefix(_GROUP) for name in names if name.startswith(_GROUP))
