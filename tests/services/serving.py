"""A real service for tests: a free port, a thread with an event loop of its own, a tiny model."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import uvloop

from services.embedded import Embedded, embedded
from streamvlm.client import Client, PushedFrame
from streamvlm.config import Config

START_SECONDS = 60.0
STOP_SECONDS = WAIT_SECONDS = 20.0
LONG_ANSWER = 50_000
"""Tokens that no test waits for."""
START_UTC = 1_750_000_000.0


def small_config(**engine: int) -> Config:
    return Config.model_validate(
        {
            "capture": {"open_timeout_seconds": 5.0, "read_timeout_seconds": 2.0},
            "encode": {"max_pixels": 96 * 128},
            "respond": {"max_new_tokens": LONG_ANSWER},
            "vlm": {"checkpoint": "random:qwen3-vl-tiny", "dtype": "float32", "device": "cpu"},
            "engine": engine,
        }
    )


class Serving:
    """Entering starts the service, leaving stops it; both wait, with a limit."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        address: str = "127.0.0.1:0",
        grace_seconds: float = 0.2,
        folder: Path | None = None,
    ) -> None:
        """Keeps its data in `folder`, or nowhere."""
        self._config = config or small_config()
        self._wanted, self._grace_seconds, self._folder = address, grace_seconds, folder
        self._started: Future[Embedded] = Future()
        self._must_stop: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)

    @property
    def address(self) -> str:
        return self.services.address

    @property
    def services(self) -> Embedded:
        return self._started.result(START_SECONDS)

    def begin(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        if not self._must_stop.done():
            self._must_stop.set_result(None)
        self._thread.join(STOP_SECONDS)
        assert not self._thread.is_alive(), "the service did not stop in time"

    def __enter__(self) -> Self:
        self.begin()
        self._started.result(START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with embedded(
                self._config,
                self._wanted,
                self._folder or Path(folder),
                grace_seconds=self._grace_seconds,
            ) as started:
                self._started.set_result(started)
                await asyncio.wrap_future(self._must_stop)


def frames(number: int, *, first: int = 0) -> list[PushedFrame]:
    """Noise at 2 frames a second, no two alike."""
    return [
        PushedFrame(
            image=np.random.default_rng(index).integers(0, 256, (64, 96, 3), np.uint8).tobytes(),
            encoding="rgb24",
            height=64,
            width=96,
            utc_seconds=START_UTC + index / 2,
            sequence=index,
        )
        for index in range(first, first + number)
    ]


def push_stream(
    client: Client, stream_id: str, num_frames: int = 12, *, time_zone: str = ""
) -> None:
    """A stream that has taken in so many frames, which are two a clip."""
    client.create_stream(stream_id, "push:", time_zone=time_zone)
    acks = list(client.push_frames(stream_id, frames(num_frames)))
    assert [ack.error for ack in acks] == [None] * num_frames
    until(lambda: client.get_stream(stream_id).memory.clips_encoded == num_frames // 2)


def until(condition: Callable[[], bool]) -> None:
    """Ask again and again; each time goes through the service, so this does not spin."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"


async def eventually(condition: Callable[[], object]) -> None:
    """The same inside an event loop; the condition may be a coroutine function."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = condition()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.01)
