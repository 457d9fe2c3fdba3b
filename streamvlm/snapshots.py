"""When snapshots are taken and by whom: the engine's thread takes them, which copies nothing; a
thread of their own writes them.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

from streamvlm.errors import FencedError, NotErasedError, SnapshotError
from streamvlm.remember import Snapshot, SnapshotFolder, files, sweep
from streamvlm.remember_config import RememberConfig
from streamvlm.streams import WatchedStream
from streamvlm.vlm import VLM

log = logging.getLogger(__name__)

_PREFIX = "stream-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptStream:
    """A stream that is about to begin: where it is kept, and what was."""

    folder: SnapshotFolder | None
    """None where nothing is kept."""
    snapshot: Snapshot | None = None
    """None where there is none to go on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotStatus:
    """What is on the disk of one stream."""

    stream_id: str
    num_bytes: int
    age_seconds: float | None
    """Since the last complete snapshot of this process; None before."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Kept:
    stream: WatchedStream
    folder: SnapshotFolder
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the folder is written to."""
    is_waiting: bool = False
    """A snapshot is on its way to the disk."""
    is_over: bool = False
    is_failing: bool = False
    num_bytes: int = 0
    saved_monotonic_seconds: float | None = None


class SnapshotKeeper:
    """Snapshots of all streams of an engine, a folder each, below one folder."""

    def __init__(self, vlm: VLM, config: RememberConfig, folder: Path | None) -> None:
        """Keeps nothing where there is no folder, or the config says so."""
        self._vlm, self._config, self._folder = vlm, config, folder
        self._is_on = folder is not None and config.snapshot_seconds > 0
        self._kept: dict[str, _Kept] = {}
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="snapshots")
        self._due_monotonic_seconds = time.monotonic() + config.snapshot_seconds
        self.num_failures = 0
        """Snapshots that could not be written."""

    def folder_of(self, stream_id: str) -> Path | None:
        """Where a stream's files are, if anywhere: its snapshots, and the disk tier of its
        memory.
        """
        return self._folder and self._folder / (_PREFIX + quote(stream_id, safe=""))

    def open(self, stream_id: str, source: str) -> KeptStream:
        """What was kept of a stream with this source. Reads all of it; for any thread but the
        engine's. What cannot be read is told in the log, and the stream begins anew.
        """
        if (own := self.folder_of(stream_id)) is None:
            return KeptStream(folder=None)
        sweep(own)
        if not self._is_on:
            return KeptStream(folder=None)
        about = {"stream": stream_id, "source": source, **self._vlm.identity}
        folder = SnapshotFolder(own, about)
        snapshot = None
        try:
            snapshot = folder.load(
                self._config.budget_bytes + self._config.host_budget_bytes,
                self._vlm.device,
                self._config.disk_budget_bytes,
            )
        except (SnapshotError, OSError, RuntimeError) as error:  # the device may have no room
            log.warning(
                "stream %s begins anew, its next snapshot replaces the one that is there: %s",
                stream_id,
                error,
            )
        if snapshot:
            log.info("stream %s: %d blocks remembered", stream_id, len(snapshot.blocks))
        return KeptStream(folder=folder, snapshot=snapshot)

    def idle(self) -> list[str]:
        """Streams that are kept and not watched here."""
        if self._folder is None or not self._folder.is_dir():
            return []
        names = [path.name for path in self._folder.iterdir() if path.name.startswith(_PREFIX)]
        ids = sorted(unquote(name.removeprefix(_PREFIX)) for name in names)
        return [stream_id for stream_id in ids if stream_id not in self._kept]

    def last_saved(self, stream_id: str) -> float:
        """When the last snapshot of a stream was taken, in seconds UTC; 0 without any that can be
        read. For any thread but the engine's.
        """
        if (own := self.folder_of(stream_id)) is None:
            return 0.0
        return SnapshotFolder(own, {}).last_saved()

    def begin(self, stream: WatchedStream, kept: KeptStream) -> None:
        """From now on snapshots are taken of the stream."""
        if kept.folder is not None:
            self._kept[stream.stream_id] = _Kept(stream=stream, folder=kept.folder)

    def forget(self, stream_id: str) -> None:
        """No more snapshots of the stream, once one that is being written is; all stay."""
        if kept := self._kept.pop(stream_id, None):
            with kept.lock:
                kept.is_over = True

    def erase(self, stream_id: str) -> None:
        """No more snapshots of the stream, and none stays."""
        self.forget(stream_id)
        if (own := self.folder_of(stream_id)) is None:
            return
        try:
            SnapshotFolder(own, {}).erase()
        except OSError as error:
            log.error("stream %s: its snapshots cannot be erased: %s", stream_id, error)

    def replace(self, stream: WatchedStream) -> Future[None]:
        """Take a snapshot of the stream, on the engine's thread. Done when nothing is on the disk
        that only others held; gives FencedError, NotErasedError.
        """
        stream_id, strays = stream.stream_id, stream.pipeline.memory.strays()
        kept, snapshot = self._kept.get(stream_id), _snapshot_of(stream)
        return self._writer.submit(self._replace, stream_id, kept, snapshot, strays)

    def _replace(
        self, stream_id: str, kept: _Kept | None, snapshot: Snapshot | None, strays: list[Path]
    ) -> None:
        if (own := self.folder_of(stream_id)) is None:
            return
        try:
            if kept is None or snapshot is None:
                SnapshotFolder(own, {}).clear()
                if kept:
                    kept.folder = SnapshotFolder(own, kept.folder.about)
            else:
                self._save_alone(kept, snapshot)
            # Not before: a snapshot that was on its way may have given one a second name.
            if failures := files.delete(strays):
                raise failures[0]
        except OSError as error:
            raise NotErasedError(
                f"stream {stream_id!r}: memory has forgotten it, the disk may not have; "
                f"try again: {error.strerror}"
            ) from error

    def _save_alone(self, kept: _Kept, snapshot: Snapshot) -> None:
        with kept.lock:
            if kept.is_over:
                raise FencedError(f"stream {kept.stream.stream_id!r} is not kept here any more")
            kept.folder.save(snapshot, num_kept=1)
            kept.num_bytes = kept.folder.num_bytes
        kept.saved_monotonic_seconds = time.monotonic()

    def take_due(self) -> None:
        """Take a snapshot of each stream when it is time; on the engine's thread."""
        now = time.monotonic()
        if self._is_on and now >= self._due_monotonic_seconds:
            self._due_monotonic_seconds = now + self._config.snapshot_seconds
            for kept in list(self._kept.values()):
                if not kept.is_waiting:
                    self._take(kept)

    def finish(self) -> None:
        """Take the last snapshots and return when all are written; on the engine's thread."""
        for kept in list(self._kept.values()):
            self._take(kept)
        self._writer.shutdown()

    def status(self) -> list[SnapshotStatus]:
        """What is on the disk, by stream; any thread."""
        now = time.monotonic()
        return [
            SnapshotStatus(
                stream_id=stream_id,
                num_bytes=kept.num_bytes,
                age_seconds=now - saved if (saved := kept.saved_monotonic_seconds) else None,
            )
            for stream_id, kept in sorted(self._kept.copy().items())
        ]

    def _take(self, kept: _Kept) -> None:
        if (snapshot := _snapshot_of(kept.stream)) is None:
            return
        kept.is_waiting = True
        self._writer.submit(self._write, kept, snapshot)

    def _write(self, kept: _Kept, snapshot: Snapshot) -> None:
        stream_id = kept.stream.stream_id
        try:
            with kept.lock:
                if kept.is_over:
                    return
                kept.folder.save(snapshot)
                kept.num_bytes = kept.folder.num_bytes
            kept.saved_monotonic_seconds = time.monotonic()
            if kept.is_failing:
                log.info("stream %s: snapshots are written again", stream_id)
            kept.is_failing = False
        except FencedError as error:
            log.warning("stream %s: no more snapshots: %s", stream_id, error)
            kept.is_over = True
        except Exception as error:  # a full disk, a lost device: the stream goes on all the same
            self.num_failures += 1
            if not kept.is_failing:
                log.warning("stream %s: no snapshot written: %s", stream_id, error)
            kept.is_failing = True
        finally:
            kept.is_waiting = False


def _snapshot_of(stream: WatchedStream) -> Snapshot | None:
    """None of a file: it can be read again, and would be, behind what was kept of it."""
    snapshot = None if stream.can_wait else stream.pipeline.snapshot()
    return snapshot and replace(snapshot, run=stream.feed.status().run)
