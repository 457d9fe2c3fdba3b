"""Who is there, and who holds what: presence and ownership in Redis, by leases and epochs.

A stream's memory has one owner. A claim gives it an epoch; whoever comes with an older one may not
write any more, however long it slept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from services import keys
from services.store import Store
from streamvlm.errors import StreamExistsError
from streamvlm.types import GridRule

_LEASE_MS = int(keys.LEASE_SECONDS * 1000)

_CLAIM = """
local held = redis.call('HGET', KEYS[1], 'worker')
if held and held ~= ARGV[1] then return held end
local epoch = redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 'worker', ARGV[1], 'address', ARGV[2], 'epoch', epoch)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return epoch
"""
_RENEW = """
local newest = tonumber(redis.call('GET', KEYS[2]) or '0')
if newest > tonumber(ARGV[5]) then return 0 end
redis.call('SET', KEYS[2], ARGV[5], 'EX', ARGV[4])
redis.call('HSET', KEYS[1], 'worker', ARGV[1], 'address', ARGV[2], 'epoch', ARGV[5])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RELEASE = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_LEASE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_UNLEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as it tells of itself."""

    name: str
    address: str
    rule: GridRule
    """How large its model wants pictures."""
    num_streams: int
    max_streams: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a stream's memory."""

    worker: str
    address: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """A stream that is to be watched, whoever does."""

    stream_id: str
    source: str
    """Its address with credentials."""
    created_utc_seconds: float
    time_zone: str = "UTC"


class Registry:
    """Every method raises MetadataError."""

    def __init__(self, store: Store) -> None:
        self._store, self._redis = store, store.redis
        self._claim, self._renew = store.script(_CLAIM), store.script(_RENEW)
        self._release = store.script(_RELEASE)
        self._lease, self._unlease = store.script(_LEASE), store.script(_UNLEASE)

    async def announce_worker(self, worker: Worker) -> None:
        """This worker is there, for the length of a lease."""
        with self._store.errors():
            value = json.dumps(asdict(worker))
            await self._redis.set(keys.WORKERS + worker.name, value, px=_LEASE_MS)

    async def announce_ingest(self, name: str, address: str) -> None:
        """This ingest is there, for the length of a lease."""
        with self._store.errors():
            await self._redis.set(keys.INGESTS + name, address, px=_LEASE_MS)

    async def withdraw(self, key: str) -> None:
        """Somebody leaves in peace."""
        with self._store.errors():
            await self._redis.delete(key)

    async def workers(self) -> dict[str, Worker]:
        """Those that are there, by name."""
        found = {}
        for value in (await self._present(keys.WORKERS)).values():
            known = json.loads(value)
            worker = Worker(**{**known, "rule": GridRule(**known["rule"])})
            found[worker.name] = worker
        return found

    async def ingests(self) -> dict[str, str]:
        """Name -> address of those that are there."""
        return {
            key.removeprefix(keys.INGESTS): value.decode()
            for key, value in (await self._present(keys.INGESTS)).items()
        }

    async def _present(self, prefix: str) -> Mapping[str, bytes]:
        with self._store.errors():
            names = sorted([key.decode() async for key in self._redis.scan_iter(prefix + "*")])
            values = await self._redis.mget(names) if names else []
        return {name: value for name, value in zip(names, values, strict=True) if value}

    async def claim(self, stream_id: str, worker: str, address: str) -> int:
        """The epoch from which on this worker holds the stream.

        Raises StreamExistsError while another one holds it.
        """
        with self._store.errors():
            given = await self._claim(
                [keys.owner(stream_id), keys.epoch(stream_id)],
                [worker, address, _LEASE_MS, keys.EPOCH_SECONDS],
            )
        if isinstance(given, bytes):
            raise StreamExistsError(
                f"stream {stream_id!r} is held by worker {given.decode()!r}, until that lets go or "
                f"is silent for {keys.LEASE_SECONDS:g} s"
            )
        return int(given)

    async def renew(self, stream_id: str, worker: str, address: str, epoch: int) -> bool:
        """Hold on to a stream; False where somebody else has it now."""
        with self._store.errors():
            kept = await self._renew(
                [keys.owner(stream_id), keys.epoch(stream_id)],
                [worker, address, _LEASE_MS, keys.EPOCH_SECONDS, epoch],
            )
        return bool(kept)

    async def release(self, stream_id: str, epoch: int) -> None:
        """Let go of a stream, where it is held since this epoch."""
        with self._store.errors():
            await self._release([keys.owner(stream_id)], [epoch])

    async def owner(self, stream_id: str) -> Owner | None:
        """Who holds a stream now."""
        with self._store.errors():
            known = await self._redis.hgetall(keys.owner(stream_id))
        if not known:
            return None
        told = {key.decode(): value.decode() for key, value in known.items()}
        return Owner(worker=told["worker"], address=told["address"], epoch=int(told["epoch"]))

    async def epoch(self, stream_id: str) -> int:
        """The newest of a stream; 0 where nobody has held it for long."""
        with self._store.errors():
            return int(await self._redis.get(keys.epoch(stream_id)) or 0)

    async def lease(self, key: str, name: str) -> bool:
        """Take or keep something that one at a time has; False while another one does."""
        with self._store.errors():
            return bool(await self._lease([key], [name, _LEASE_MS]))

    async def unlease(self, key: str, name: str) -> None:
        """Give it back."""
        with self._store.errors():
            await self._unlease([key], [name])

    async def carrier(self, stream_id: str) -> str | None:
        """The ingest that reads the stream's source now."""
        with self._store.errors():
            name = await self._redis.get(keys.carrier(stream_id))
        return name.decode() if name else None

    async def add_stream(self, record: StreamRecord) -> None:
        """Note that a stream is to be watched. Raises StreamExistsError."""
        with self._store.errors():
            value = json.dumps(asdict(record))
            is_new = await self._redis.hsetnx(keys.STREAMS, record.stream_id, value)
            if (
                not is_new
                and await self._redis.hget(keys.STREAMS, record.stream_id) != value.encode()
            ):
                raise StreamExistsError(f"stream {record.stream_id!r} exists already")

    async def remove_stream(self, stream_id: str) -> bool:
        """Note that a stream is not to be watched any more; False where it was not."""
        with self._store.errors():
            # First: whoever finds the stream gone shall know that it was removed.
            if await self._redis.hexists(keys.STREAMS, stream_id):
                await self._redis.zadd(keys.REMOVED, {stream_id: time.time()})
                await self._redis.zremrangebyrank(keys.REMOVED, 0, -keys.MAX_REMOVED - 1)
            return bool(await self._redis.hdel(keys.STREAMS, stream_id))

    async def removed_at(self, stream_id: str) -> float:
        """When a stream with this id was last removed, in seconds UTC; 0 where nobody knows."""
        with self._store.errors():
            return float(await self._redis.zscore(keys.REMOVED, stream_id) or 0)

    async def streams(self) -> dict[str, StreamRecord]:
        """All streams that are to be watched, by id."""
        with self._store.errors():
            known = await self._redis.hgetall(keys.STREAMS)
        records = [StreamRecord(**json.loads(value)) for value in known.values()]
        return {record.stream_id: record for record in records}
