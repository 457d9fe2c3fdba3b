"""What is kept of one webhook in Redis: whether it wants events, and those it could not be told."""

from __future__ import annotations

from dataclasses import dataclass

from services import keys
from services.event_log import NumberedEvent, numbered_event
from services.store import Store

_REPLAYED = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


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
    return f"webhook:{name}"


class Letters:
    """Of one webhook. Every method raises MetadataError."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._redis, self._name = store, store.redis, name
        self._disabled, self._dead = keys.route(name, "disabled"), keys.route(name, "dead")
        self._replay = keys.route(name, "replay")
        self._replayed = store.script(_REPLAYED)

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
        """It could not be delivered."""
        entry = {
            "number": letter.event.number,
            "event": letter.event.event.SerializeToString(),
            "problem": problem,
        }
        with self._store.errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.xadd(self._dead, entry, maxlen=keys.MAX_DEAD, approximate=True)
                pipe.xack(keys.EVENTS, group(self._name), f"{letter.event.number}-0")
                if letter.dead_id:
                    pipe.xdel(self._dead, letter.dead_id)
                await pipe.execute()

    async def to_replay(self, after: str, count: int) -> list[Letter]:
        """Dead letters behind this one that somebody wants tried again; the wish is over when none
        of those is left.
        """
        with self._store.errors():
            last = await self._redis.get(self._replay)
            if last is None:
                return []
            first = f"({after}" if after else "-"
            entries = await self._redis.xrange(self._dead, first, last, count=count)
            if not entries and not await self._redis.xrange(self._dead, "-", last, count=1):
                await self._replayed([self._replay], [last])
        return [
            Letter(numbered_event(int(fields[b"number"]), fields[b"event"]), entry_id.decode())
            for entry_id, fields in entries
        ]

    async def replay(self) -> int:
        """Have all that are dead now tried again, and the webhook enabled; how many there are."""
        with self._store.errors():
            await self._redis.delete(self._disabled)
            newest = await self._redis.xrevrange(self._dead, count=1)
            if not newest:
                return 0
            await self._redis.set(self._replay, newest[0][0])
            return int(await self._redis.xlen(self._dead))

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
    """The webhooks that a notifier has served, sorted."""
    with store.errors():
        found = [key.decode() async for key in store.redis.scan_iter(keys.route("*", "*"))]
    prefix = keys.route("", "").removesuffix(":")
    return sorted({key.removeprefix(prefix).partition(":")[0] for key in found})
