"""Files that are there whole or not at all, whenever the process or the machine ends."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def put(path: Path, data: bytes) -> None:
    """Write a file, or replace it by one of the same content. Lasting after `sync`. OSError."""
    _finished(path, data).replace(path)


def put_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet: of two who try, one gets FileExistsError. Lasting
    after `sync`. OSError.
    """
    unfinished = _finished(path, data)
    try:
        os.link(unfinished, path)
    finally:
        unfinished.unlink()


def sync(folder: Path) -> None:
    """Make lasting which files the folder has. OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finished(path: Path, data: bytes) -> Path:
    """All of it beside `path`, on the disk."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished
