"""What a service does again and again in the background; one failure does not end it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from streamvlm.errors import MetadataError

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 0.5


async def repeat(what: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do the work for ever, with a pause of `seconds` behind each time; log what goes wrong."""
    was_well = True
    while True:
        try:
            await work()
            if not was_well:
                logger.info("%s: well again", what)
            was_well = True
        except MetadataError as error:
            if was_well:
                logger.warning("%s: %s", what, error)
            was_well = False
        except Exception:
            logger.exception("%s", what)
            was_well = False
        await asyncio.sleep(seconds)


@asynccontextmanager
async def background(*tasks: Awaitable[None]) -> AsyncIterator[None]:
    """These run as long as the block does."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        yield
    finally:
        await end(running)


async def end(tasks: Iterable[asyncio.Future[None]]) -> None:
    """Cancel tasks and return when they have ended. A library may take a cancellation for a timeout
    of its own, so it is said more than once.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_PATIENCE_SECONDS)
