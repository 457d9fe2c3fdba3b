"""The manifest of a snapshot: everything but the tensors, as JSON that proves itself whole."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamvlm.errors import SnapshotError, SnapshotMismatchError
from streamvlm.remember.quantise import Form
from streamvlm.types import Gap, Interval, Run, StreamTime, Tier
from streamvlm.vlm.positions import Cursor

FORMAT = 2
"""Of the manifest and of the files that it names."""

BLOCK_FILE = re.compile(r"block-\d+-[0-9a-f]{16}\.safetensors")
"""Block id and beginning of its hash: the same name never has other content."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """What a stream has counted since it began; the clips and visual tokens of `MemoryStatus`."""

    clips_encoded: int = 0
    clips_unchanged: int = 0
    tokens_seen: int = 0
    tokens_kept: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEntry:
    """One block: what its file does not hold, and how to know that file again."""

    block_id: int
    file: str
    """Name inside the folder."""
    num_bytes: int
    """Of the file."""
    sha256: str
    """Of the file."""
    interval: Interval
    form: Form = "exact"
    """How the file holds keys and values."""
    tier: Tier = Tier.DEVICE
    """Where the block was."""
    num_tokens: int = 0
    """Of the block; 0 in manifests that do not tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One snapshot of one stream."""

    about: dict[str, str | int]
    """Whose it is: the stream, its source and its model; read only where all of it is the same."""
    saved_utc_seconds: float
    policy: str
    """Position policy under which the newest blocks were prefilled; for people."""
    cursor: Cursor
    next_block_id: int
    next_clip_index: int
    seen_until: StreamTime
    unkept: Interval | None
    gaps: tuple[Gap, ...]
    counters: Counters
    num_evicted: int
    run: Run
    blocks: tuple[BlockEntry, ...]
    """Oldest first."""


_ADAPTER = TypeAdapter(Manifest)


def to_bytes(manifest: Manifest) -> bytes:
    """The manifest as a file."""
    body = _ADAPTER.dump_python(manifest, mode="json")
    sealed = {"format": FORMAT, "sha256": _hash_of(body), "snapshot": body}
    return json.dumps(sealed, indent=1).encode()


def from_bytes(data: bytes) -> Manifest:
    """The manifest in a file.

    Raises SnapshotMismatchError where it is of another format, SnapshotError where it is damaged.
    """
    try:
        sealed = json.loads(data)
        form, seal, body = sealed["format"], sealed["sha256"], sealed["snapshot"]
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotError("not a whole manifest") from error
    if form != FORMAT:
        raise SnapshotMismatchError(
            f"format: the snapshot has {form!r}, this version reads {FORMAT}"
        )
    if seal != _hash_of(body):
        raise SnapshotError("its hash does not fit what it says")
    try:
        manifest = _ADAPTER.validate_python(body)
    except ValidationError as error:
        raise SnapshotError(f"not a manifest: {error.errors()[0]['msg']}") from error
    if strange := [each.file for each in manifest.blocks if not BLOCK_FILE.fullmatch(each.file)]:
        raise SnapshotError(f"{strange[0]!r} is no name of a block's file")
    return manifest


def check_same(manifest: Manifest, about: Mapping[str, str | int]) -> None:
    """Raise SnapshotMismatchError that names the first field in which the two differ."""
    for name, ours in about.items():
        theirs = manifest.about.get(name)
        if theirs != ours:
            raise SnapshotMismatchError(
                f"{name}: the snapshot was taken with {theirs!r}, now it is {ours!r}"
            )


def _hash_of(body: Any) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
