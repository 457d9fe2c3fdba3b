"""How blocks get into each tier. An offer says how many bytes a block would take there, before it
takes them.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from streamvlm.remember import block_file, files
from streamvlm.remember.quantise import HeldKV, QuantisedKV, form_of
from streamvlm.remember.stored import FileKV, StoredBlock, brought_to, held_in_host
from streamvlm.types import RawKV

TIER_FOLDER = "tier-"
"""Beginning of the name of the folder in which a process has the disk tier of a stream."""


class Offer(NamedTuple):
    """A place for a block."""

    num_bytes: int
    take: Callable[[], StoredBlock]
    """The block, brought there. OSError."""


class Shelf(Protocol):
    """One tier of one stream."""

    def offer(self, block: StoredBlock) -> Offer:
        """What the block takes here, in the form in which it is."""
        ...


class DeviceShelf:
    """The model's own memory, exact."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def offer(self, block: StoredBlock) -> Offer:
        """See `Shelf.offer`."""
        kv, device = block.kv, self._device
        assert isinstance(kv, RawKV), "what the model works on is not shrunk"
        return Offer(block.num_bytes, lambda: block.moved(brought_to(kv, device), device))


class HostShelf:
    """Host memory, pinned where there is a GPU to read it."""

    def __init__(self, device: torch.device) -> None:
        self._is_pinned = device.type == "cuda"

    def offer(self, block: StoredBlock) -> Offer:
        """See `Shelf.offer`."""
        kv, num_bytes = in_memory(block), block.num_bytes
        if self._is_pinned and (pinned := _pinned_bytes_of(kv)):
            # torch hands out pinned memory in powers of two.
            num_bytes += (1 << (pinned - 1).bit_length()) - pinned
        host = torch.device("cpu")
        return Offer(num_bytes, lambda: block.moved(held_in_host(kv, self._is_pinned), host))


class DiskShelf:
    """Files in a folder that is there from the first block to the last holder of this shelf. A file
    goes with the last holder of its block: a snapshot that is being written keeps it.
    """

    def __init__(self, parent: Path) -> None:
        self._folder = parent / f"{TIER_FOLDER}{secrets.token_hex(8)}"
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._is_there = False

    def offer(self, block: StoredBlock) -> Offer:
        """See `Shelf.offer`."""
        if isinstance(kv := block.kv, FileKV):
            return Offer(kv.num_bytes, lambda: replace(block, kv=self._adopt(kv)))
        is_last = block.inputs is None and block.pictures is None
        assert is_last, "below the disk there is no tier that wants what is kept beside a block"
        data = block_file.to_bytes(block.contents(kv))
        return Offer(len(data), lambda: replace(block, kv=self._write(block.block_id, data, kv)))

    def strays(self, blocks: Iterable[StoredBlock]) -> list[Path]:
        """Files in the folder that are of none of these blocks."""
        named = {block.kv.path for block in blocks if isinstance(block.kv, FileKV)}
        return [path for path in self._folder.glob("*") if path not in named]

    def _write(self, block_id: int, data: bytes, kv: HeldKV) -> FileKV:
        sha256 = block_file.hash_of(data)
        path = self._made() / block_file.name_of(block_id, sha256)
        files.put_passing(path, data)
        return _going_with_its_file(
            FileKV(
                path=path,
                num_tokens=len(kv),
                num_bytes=len(data),
                sha256=sha256,
                form=form_of(kv),
            )
        )

    def _adopt(self, kv: FileKV) -> FileKV:
        """The same file in this folder, without another copy where the file system can."""
        path = self._made() / kv.path.name
        files.put_linked(path, kv.path)
        return _going_with_its_file(
            FileKV(
                path=path,
                num_tokens=kv.num_tokens,
                num_bytes=kv.num_bytes,
                sha256=kv.sha256,
                form=kv.form,
            )
        )

    def _made(self) -> Path:
        if not self._is_there:
            # What is erased meanwhile is not made again: its blocks are lost, as they should.
            self._folder.mkdir(parents=True, mode=0o700)
            self._is_there = True
        return self._folder


def in_memory(block: StoredBlock) -> HeldKV:
    """Keys and values of a block that lies in no file: blocks only go down."""
    assert not isinstance(block.kv, FileKV), f"block {block.block_id} is on the disk already"
    return block.kv


def sweep(parent: Path) -> None:
    """Delete what the disk tier of a process has left that was killed."""
    for folder in parent.glob(f"{TIER_FOLDER}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _going_with_its_file(kv: FileKV) -> FileKV:
    weakref.finalize(kv, _unlink, kv.path)
    return kv


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _pinned_bytes_of(kv: HeldKV) -> int:
    if isinstance(kv, RawKV):
        return kv.keys.nbytes + kv.values.nbytes
    return kv.codes.nbytes if isinstance(kv, QuantisedKV) else 0
