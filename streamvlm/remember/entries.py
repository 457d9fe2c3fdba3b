"""Blocks of a snapshot: how they get into its folder, and out again."""

from __future__ import annotations

from pathlib import Path

import torch

from streamvlm.remember import block_file, files
from streamvlm.remember.manifest import BlockEntry
from streamvlm.remember.stored import FileKV, StoredBlock, StoredKV, brought_to
from streamvlm.types import RawKV, Tier


def written(folder: Path, block: StoredBlock) -> BlockEntry:
    """The block as a file in there, in the form in which it is held. OSError."""
    if isinstance(kv := block.kv, FileKV):
        name, num_bytes, sha256 = kv.path.name, kv.num_bytes, kv.sha256
        files.put_linked(folder / name, kv.path)
    else:
        data = block_file.to_bytes(block.contents(kv))
        num_bytes, sha256 = len(data), block_file.hash_of(data)
        name = block_file.name_of(block.block_id, sha256)
        files.put(folder / name, data)
    return BlockEntry(
        block_id=block.block_id,
        file=name,
        num_bytes=num_bytes,
        sha256=sha256,
        interval=block.interval,
        form=block.form,
        tier=block.tier,
        num_tokens=len(kv),
    )


def read(folder: Path, entry: BlockEntry, device: torch.device) -> StoredBlock:
    """In the tier where it was; one of the disk is read all the same, and left there. Raises
    OSError, and SnapshotError where the file is not what was written.
    """
    path = folder / entry.file
    contents = block_file.read(path, entry.num_bytes, entry.sha256)
    kv: StoredKV = contents.kv
    if entry.tier is Tier.DISK:
        kv = FileKV(
            path=path,
            num_tokens=len(kv),
            num_bytes=entry.num_bytes,
            sha256=entry.sha256,
            form=entry.form,
        )
    elif entry.tier is Tier.DEVICE and isinstance(kv, RawKV):
        kv = brought_to(kv, device)
    return StoredBlock(
        block_id=entry.block_id,
        kv=kv,
        summary=contents.summary,
        interval=entry.interval,
        is_visual=contents.is_visual,
        clip_lengths=contents.clip_lengths,
        tier=entry.tier,
        inputs=None if isinstance(kv, FileKV) else contents.inputs,
        pictures=None if isinstance(kv, FileKV) else contents.pictures,
    )
