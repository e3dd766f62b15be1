"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lifeiqa.runtime.errors import WriteError

_DISK_ERRORS = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it onto `path` at the end, removes it on any failure.

    A process that is killed leaves the old file or the new one under `path`, never a part of one. A symbolic link
    is followed, so that what it points to is replaced and not the link.

    Raises:
        WriteError: the folder or the file cannot be written, or the disk is full.
    """
    if path.is_dir():
        raise WriteError(f"Cannot write {path}: it is a folder; name a file in it.")
    with _as_write_error(path):
        target = path.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno in _DISK_ERRORS:  # of writing to the temporary file; any other is not ours to explain
                raise WriteError(f"Cannot write {path}: {error.strerror}.") from error
            raise
        with _as_write_error(path):
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Raises `WriteError` where `folder` cannot be written or made, before minutes of work and not after."""
    there = next(place for place in (folder.resolve(), *folder.resolve().parents) if place.exists())
    if not there.is_dir():
        raise WriteError(f"Cannot write to {folder}: {there} is no folder.")
    if not os.access(there, os.W_OK):
        raise WriteError(f"Cannot write to {folder}: no permission to write to {there}.")


@contextmanager
def atomic_text(path: Path) -> Iterator[IO[str]]:
    """Like `atomic_path`, open for writing text as UTF-8 with line ends left alone.

    What exists and is no regular file, such as a named pipe, is written to directly.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        with _as_write_error(path), path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield file


def atomic_write(path: Path, data: bytes) -> None:
    """Writes `data` to `path` whole or not at all. Raises `WriteError`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def _as_write_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"Cannot write {path}: {error.strerror or error}.") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
