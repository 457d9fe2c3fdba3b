"""The engine in a thread of its own: loaded there, run there, stopped from here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from streamvlm.alerts import Alert
from streamvlm.config import Config
from streamvlm.engine import StreamEngine
from streamvlm.errors import EngineStoppedError


class EngineHost:
    """Gives handlers the engine while there is one. `start` and `stop` once each."""

    def __init__(
        self, config: Config, on_alert: Callable[[Alert], None], snapshot_folder: Path | None
    ) -> None:
        """`on_alert` hears each revision of an alert, in the event loop."""
        self.config, self._on_alert = config, on_alert
        self._snapshot_folder = snapshot_folder
        self._engine: StreamEngine | None = None
        self._running: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")

    @property
    def engine(self) -> StreamEngine:
        """The engine. Raises EngineStoppedError while the model is being loaded."""
        if self._engine is None:
            raise EngineStoppedError("the model is being loaded; try again soon")
        return self._engine

    @property
    def running(self) -> asyncio.Future[None]:
        """Done when the engine has stopped, with an exception where it failed. After `start`."""
        assert self._running is not None, "the engine was not started"
        return self._running

    async def start(self) -> None:
        """Load the model and let the engine run. Raises CheckpointError, ConfigError."""
        loop = asyncio.get_running_loop()

        def tell(alert: Alert) -> None:
            loop.call_soon_threadsafe(self._on_alert, alert)

        engine = await loop.run_in_executor(
            self._thread, StreamEngine.from_config, self.config, tell, self._snapshot_folder
        )
        self._running = loop.run_in_executor(self._thread, engine.run)
        self._engine = engine

    async def stop(self) -> None:
        """Fail the questions that wait, stop all streams, write their snapshots, end the thread."""
        if self._engine is not None:
            await asyncio.to_thread(self._engine.stop)
            await asyncio.wait({self.running})
        self._thread.shutdown(wait=False)
