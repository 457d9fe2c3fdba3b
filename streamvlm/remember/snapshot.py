"""One stream's memory in a folder: what outlives a restart.

    block-ID-HASH.safetensors   a block as it is held, see `block_file`; written once, or a second
                                name of the disk tier's file
    manifest-NUMBER.json        one snapshot: names its blocks; the two newest are kept

Blocks are immutable, so a snapshot writes only those that are new. A manifest appears by one step
of the file system when everything that it names is on the disk: whenever the process ends, the
newest manifest is a complete snapshot. Its number is free once: of two workers that believe they
hold the stream, the one that loaded it last goes on and the other one is told.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from streamvlm.errors import FencedError, SnapshotError, SnapshotMismatchError
from streamvlm.remember import entries, files, manifest
from streamvlm.remember.manifest import BlockEntry, Counters, Manifest
from streamvlm.remember.stored import StoredBlock
from streamvlm.types import Gap, Interval, Run, StreamTime, Tier
from streamvlm.vlm.positions import Cursor

log = logging.getLogger(__name__)

SNAPSHOT_DAMAGED = "SNAPSHOT_DAMAGED"
"""Reason of a gap where a block was, of which the file cannot be read any more."""

_MANIFEST = re.compile(r"manifest-(\d+)\.json")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """What a stream remembers, between two steps; shares the blocks, which never change."""

    blocks: tuple[StoredBlock, ...]
    """Oldest first."""
    next_block_id: int
    cursor: Cursor
    policy: str
    seen_until: StreamTime
    """End of the newest clip or gap."""
    next_clip_index: int
    unkept: Interval | None
    """What was seen and is in no block: the open segment and the fresh window."""
    gaps: tuple[Gap, ...]
    counters: Counters
    num_evicted: int
    run: Run = field(default_factory=Run)


class SnapshotFolder:
    """The snapshots of one stream on one disk. For one thread at a time."""

    def __init__(self, folder: Path, about: Mapping[str, str | int]) -> None:
        """`about` says of which stream and which model: only what is all the same is read."""
        self.folder, self.about = folder, dict(about)
        self._number = 0
        """Of the newest manifest that is known."""
        self._named: dict[int, frozenset[str]] = {}
        """Files of the manifests that are kept, by number."""
        self._saved: dict[int, BlockEntry] = {}
        """Blocks that are on the disk, by id."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._files())

    def last_saved(self) -> float:
        """When the newest snapshot that can be told of was taken, in seconds UTC; 0 without any."""
        try:
            _, found = self._newest_whole(self._numbers())
        except SnapshotError:
            return 0.0
        return found.saved_utc_seconds

    def load(
        self, budget_bytes: int, device: torch.device, disk_budget_bytes: int = 0
    ) -> Snapshot | None:
        """The newest snapshot that is whole; None where there is none. Of its blocks the newest
        that the budgets hold, of the tiers in memory and of the disk; all are read to be sure of
        them. From now on this folder's snapshots are those of the caller.

        A block that cannot be read becomes a gap. Raises SnapshotMismatchError, SnapshotError where
        no manifest can be read, and OSError.
        """
        while numbers := self._numbers():
            self._number = numbers[-1]
            number, found = self._newest_whole(numbers)
            manifest.check_same(found, self.about)
            self._named = {number: frozenset(entry.file for entry in found.blocks)}
            before = list(self._files())
            try:
                self._publish(found)
                self._sweep(before, num_kept=2)
            except (FencedError, FileNotFoundError):
                continue  # who had it was still writing, and will be told
            except OSError as error:
                log.warning("snapshot in %s can be read, not written: %s", self.folder, error)
            return self._snapshot(found, budget_bytes, device, disk_budget_bytes)
        return None

    def save(self, snapshot: Snapshot, num_kept: int = 2) -> None:
        """Write what is new, then a manifest. Where that fails, the snapshots before are as they
        were, but for the older one if there is no room. With `num_kept` 1 nothing stays that only
        those held; where the process ends too soon, `load` finishes that.

        Raises OSError, and FencedError where another worker writes here by now.
        """
        if (newest := max(self._numbers(), default=0)) != self._number:
            raise self._fenced(newest)
        if not self._number:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            files.sync(self.folder.parent)
        # Only what was there before: whoever takes the folder over meanwhile writes other files.
        before = list(self._files())
        wanted = {block.block_id for block in snapshot.blocks}
        self._saved = {key: entry for key, entry in self._saved.items() if key in wanted}
        try:
            for block in snapshot.blocks:
                self._saved[block.block_id] = self._entry(block)
            files.sync(self.folder)
            self._publish(self._manifest(snapshot))
        except OSError:
            # On a full disk the older snapshot may be the room that the next one needs.
            self._sweep(before, num_kept=1)
            raise
        failures = self._sweep(before, num_kept)
        if num_kept == 1:
            files.sync(self.folder)
            if failures:
                raise failures[0]

    def erase(self) -> None:
        """Everything goes, what the disk tier of a running stream has in it too. OSError."""
        files.remove_folder(self.folder)

    def clear(self) -> None:
        """All snapshots go, but not the disk tier; this one saves no more. OSError."""
        failures = self._delete(self._files())
        if self.folder.exists():
            files.sync(self.folder)
        if failures:
            raise failures[0]

    def _entry(self, block: StoredBlock) -> BlockEntry:
        """The block on the disk; written where it is not there yet in the form in which it is."""
        known = self._saved.get(block.block_id)
        held = block.form, len(block.kv)
        if known is not None and (known.form, known.num_tokens) == held:
            return replace(known, interval=block.interval, tier=block.tier)
        return entries.written(self.folder, block)

    def _manifest(self, snapshot: Snapshot) -> Manifest:
        return Manifest(
            about=self.about,
            saved_utc_seconds=time.time(),
            policy=snapshot.policy,
            cursor=snapshot.cursor,
            next_block_id=snapshot.next_block_id,
            next_clip_index=snapshot.next_clip_index,
            seen_until=snapshot.seen_until,
            unkept=snapshot.unkept,
            gaps=snapshot.gaps,
            counters=snapshot.counters,
            num_evicted=snapshot.num_evicted,
            run=snapshot.run,
            blocks=tuple(self._saved[block.block_id] for block in snapshot.blocks),
        )

    def _publish(self, published: Manifest) -> None:
        """The moment in which a snapshot is there. Raises OSError, FencedError."""
        number = self._number + 1
        try:
            files.put_new(self._path(number), manifest.to_bytes(published))
        except FileExistsError:
            raise self._fenced(number) from None
        self._number = number
        self._named[number] = frozenset(entry.file for entry in published.blocks)
        files.sync(self.folder)

    def _sweep(self, before: Iterable[Path], num_kept: int) -> list[OSError]:
        """Delete what no newest manifest and no block of the next one names. Gives what failed."""
        self._named = {number: self._named[number] for number in sorted(self._named)[-num_kept:]}
        wanted = {self._path(number).name for number in self._named}
        wanted.update(entry.file for entry in self._saved.values())
        wanted.update(*self._named.values())
        return self._delete(path for path in before if path.name not in wanted)

    @staticmethod
    def _delete(paths: Iterable[Path]) -> list[OSError]:
        """Manifests first: none names what is gone."""
        return files.delete(sorted(paths, key=lambda path: path.suffix != ".json"))

    def _newest_whole(self, numbers: list[int]) -> tuple[int, Manifest]:
        failures = []
        for number in reversed(numbers):
            path = self._path(number)
            try:
                return number, manifest.from_bytes(path.read_bytes())
            except SnapshotMismatchError:
                raise
            except (OSError, SnapshotError) as error:
                failures.append(f"{path.name}: {error}")
        raise SnapshotError(f"no snapshot in {self.folder} is whole: {'; '.join(failures)}")

    def _snapshot(
        self, found: Manifest, budget_bytes: int, device: torch.device, disk_budget_bytes: int
    ) -> Snapshot:
        blocks, gaps, num_left_out = [], list(found.gaps), 0
        left = {False: budget_bytes, True: disk_budget_bytes}  # by whether it is the disk's
        saved = dict[int, BlockEntry]()
        for entry in reversed(found.blocks):
            on_disk = entry.tier is Tier.DISK
            if left[on_disk] <= 0:
                num_left_out += 1
                continue
            try:
                block = entries.read(self.folder, entry, device)
            except (OSError, SnapshotError) as error:
                log.error("a block is left out: %s", error)
                gaps.append(Gap(interval=entry.interval, reason=SNAPSHOT_DAMAGED))
                continue
            left[on_disk] -= block.num_bytes
            if left[on_disk] < 0:
                num_left_out += 1
                continue
            blocks.append(block)
            saved[entry.block_id] = entry
        # Not before: a stream that begins anew after all has other blocks with these ids.
        self._saved = saved
        return Snapshot(
            blocks=tuple(reversed(blocks)),
            next_block_id=found.next_block_id,
            cursor=found.cursor,
            policy=found.policy,
            seen_until=found.seen_until,
            next_clip_index=found.next_clip_index,
            unkept=found.unkept,
            gaps=tuple(gaps),
            counters=found.counters,
            num_evicted=found.num_evicted + num_left_out,
            run=found.run,
        )

    def _files(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            yield from (path for path in self.folder.iterdir() if path.is_file())

    def _numbers(self) -> list[int]:
        """Of the manifests that are there, ascending."""
        matches = (_MANIFEST.fullmatch(path.name) for path in self._files())
        return sorted(int(match[1]) for match in matches if match)

    def _path(self, number: int) -> Path:
        return self.folder / f"manifest-{number:08d}.json"

    def _fenced(self, number: int) -> FencedError:
        return FencedError(
            f"another worker writes or erased the snapshots in {self.folder}: the newest is "
            f"{number or 'none'}, not {self._number}"
        )
