"""Redis, where streams, owners, rules and events are kept: one kind of error for all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from streamvlm.errors import ConfigError, MetadataError

ANSWER_SECONDS = 1.0
"""What Redis has to answer; it is next door."""


class Store:
    """A connection. Every use is inside `errors`."""

    # Any: the types of redis-py do not know that what we get is always bytes.
    def __init__(self, redis: Any, waiting: Any) -> None:
        self.redis: Any = redis
        self.waiting: Any = waiting
        """For commands that wait for something to happen."""

    def script(self, code: str) -> AsyncScript:
        """A script that runs as one step; may be sent twice, so it must bear that."""
        made: AsyncScript = self.redis.register_script(code)
        return made

    async def is_there(self) -> bool:
        """Whether Redis answers now."""
        try:
            return bool(await self.redis.ping())
        except RedisError:
            return False

    async def wait_for(self, command: Awaitable[Any], timeout_seconds: float) -> Any:
        """What a command gives that waits for so long at most. Raises MetadataError where Redis
        does not even say that nothing came.
        """
        try:
            async with asyncio.timeout(timeout_seconds + 2 * ANSWER_SECONDS):
                with self.errors():
                    return await command
        except TimeoutError:
            raise MetadataError("Redis: no answer") from None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises MetadataError for whatever goes wrong between us and Redis."""
        try:
            yield
        except RedisError as error:
            # What it says holds addresses at most: secrets are in the URL, which it does not tell.
            raise MetadataError(f"Redis: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Store]:
    """A store at `url`; connects when it is first used. Raises ConfigError where that is none."""
    options: dict[str, Any] = {
        "retry": Retry(ExponentialBackoff(cap=0.2, base=0.02), 1),
        "socket_connect_timeout": ANSWER_SECONDS,
        "health_check_interval": 10,
    }
    try:
        redis = Redis.from_url(url, socket_timeout=ANSWER_SECONDS, **options)
        waiting = Redis.from_url(url, socket_timeout=None, **options)
    except ValueError as error:
        raise ConfigError(f"STREAMVLM_REDIS_URL: {error}") from None
    try:
        yield Store(redis, waiting)
    finally:
        await redis.aclose()
        await waiting.aclose()
