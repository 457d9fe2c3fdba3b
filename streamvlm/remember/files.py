"""Files that are there whole or not at all, whenever the process or the machine ends."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path


def put(path: Path, data: bytes) -> None:
    """Write a file, or replace it by one of the same content. Lasting after `sync`. OSError."""
    _finished(path, data).replace(path)


def put_passing(path: Path, data: bytes) -> None:
    """As `put`, for a file that nobody needs once this process has ended. OSError."""
    _finished(path, data, is_lasting=False).replace(path)


def put_linked(path: Path, other: Path) -> None:
    """The file `other` under another name too, or a copy where the file system cannot do that.
    Lasting after `sync`. OSError.
    """
    try:
        os.link(other, path)
    except FileExistsError:
        pass  # the same name, the same content
    except OSError:
        put(path, other.read_bytes())
    sync(path)


def put_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet: of two who try, one gets FileExistsError. Lasting
    after `sync`. OSError.
    """
    unfinished = _finished(path, data)
    try:
        os.link(unfinished, path)
    finally:
        unfinished.unlink()


def sync(path: Path) -> None:
    """Make lasting what a file holds, or which files a folder has. OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Everything in it goes, also while somebody else deletes files there. OSError."""
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise


def delete(paths: Iterable[Path]) -> list[OSError]:
    """Delete these as far as that can be done. Lasting after `sync`. Gives what failed."""
    failures = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            failures.append(error)
    return failures


def _finished(path: Path, data: bytes, is_lasting: bool = True) -> Path:
    """All of it beside `path`, on the disk where it is to last."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            if is_lasting:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return unfinished
