"""Records on their way to a results file: appended as they come, so that a killed run loses none of them.

A journal is a file of JSON lines beside the results. The first has the settings of the run, each other one the fields
of a record. The last record of a file also has `file`: what identifies the file's state, null where one of its records
is an error. A line that was cut is not there, and records of a video without their last one are not either.
"""

from __future__ import annotations

import array
import contextlib
import hashlib
import io
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from lifeiqa.runtime.errors import ImageError, UsageError, WriteError
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sources.entries import Entry
from lifeiqa.runtime.sources.remote import read_remote

FORMAT = 1
_SYNC_S = 5.0  # a machine that loses power loses no more than that


def file_state(entry: Entry, checksum: bool) -> str:
    """What changes when a file does: its size and time of change, and with `checksum` its SHA-256; "" for no file.

    Of a URI that was named, and not found in a folder, only the checksum says anything.
    """
    if entry.uri is not None and entry.error is None:
        with contextlib.suppress(ImageError):  # whoever scores it says why
            return entry.state + (" " + hashlib.sha256(read_remote(entry.uri)).hexdigest() if checksum else "")
    if entry.path is None:
        return hashlib.sha256(entry.data or b"").hexdigest() if entry.data else ""
    try:
        status = os.stat(entry.path)  # noqa: PTH116 - accept any text
        state = f"{status.st_size} {status.st_mtime_ns}"
        if checksum and not os.path.isdir(entry.path):  # noqa: PTH112
            with io.FileIO(entry.path) as file:
                state += " " + _sha256(file)
    except (OSError, ValueError):
        return ""
    return state


class Journal:
    """The records of one results file. Opened by `begin` or `resume`.

    Attributes:
        path: of the journal.
        found: for how many files it had records when it was resumed.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.found, self._settings = path, 0, dict(settings)
        self._order = array.array("q")  # of the first line of each entry, in the order of the scan
        self._keys, self._offsets = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._file: IO[bytes] | None = None
        self._end = 0
        self._synced = time.monotonic()

    def begin(self) -> None:
        """Begins an empty journal. Raises `WriteError`."""
        self._open("wb")
        self._append({"journal": FORMAT, "settings": self._settings})

    def resume(self) -> None:
        """Reads what is there, and goes on behind it.

        Raises:
            UsageError: it is no journal, or of a run with other settings.
            WriteError: it cannot be read or written.
        """
        keys, offsets = array.array("q"), array.array("q")
        start = end = 0
        try:
            with self.path.open("rb") as file:
                self._check(file.readline())
                start = end = file.tell()
                for line in file:
                    row = _parsed(line)
                    if row is None:
                        break
                    end += len(line)
                    if "file" not in row:
                        continue
                    if row["file"] is not None:
                        keys.append(_key(row["source"], row["file"]))
                        offsets.append(start)
                    start = end
        except OSError as error:
            raise WriteError(f"Cannot read {self.path}: {error.strerror or error}.") from error
        order = np.argsort(np.frombuffer(keys, np.int64), kind="stable") if len(keys) else np.zeros(0, np.int64)
        self._keys = np.frombuffer(keys, np.int64)[order] if len(keys) else self._keys
        self._offsets = np.frombuffer(offsets, np.int64)[order] if len(offsets) else self._offsets
        self._open("r+b")
        self._truncate(start)
        self.found = len(keys)

    def _check(self, line: bytes) -> None:
        head = _parsed(line)
        if head is None or head.get("journal") != FORMAT:
            raise UsageError(f"{self.path} is not a journal that this lifeiqa reads; remove it, or use --overwrite.")
        before, now = head["settings"], json.loads(json.dumps(self._settings))
        differing = [f"{k} was {before.get(k)}, is {now.get(k)}" for k in now if before.get(k) != now.get(k)]
        if differing:
            raise UsageError(
                f"{self.path} is of a run with other settings: {'; '.join(differing)}. Use the same ones, or "
                "--overwrite to score everything anew."
            )

    def has(self, source: str, state: str) -> bool:
        """Whether a file in this state has its records, which then stand next in the order."""
        at = np.searchsorted(self._keys, (key := _key(source, state)))
        if at == len(self._keys) or self._keys[at] != key:
            return False
        self._order.append(int(self._offsets[at]))
        return True

    def reserve(self) -> int:
        """The place in the order for records that are still to come."""
        self._order.append(-1)
        return len(self._order) - 1

    def add(self, records: Iterable[Record], state: str, place: int) -> Iterator[Record]:
        """Appends the records of one file, and yields each. Raises `WriteError`; what was there before stays.

        A file with an error is scored again by a later run: a reader may have been installed, or a share mounted.

        Args:
            records: of the file.
            state: of the file, see `file_state`.
            place: what `reserve` gave for it.
        """
        start, held, failed = self._end, None, False
        for record in itertools.chain(records, [None]):
            if held is not None:
                failed |= held.error is not None
                last = {"file": None if failed else state} if record is None else {}
                self._append(asdict(held) | last)
                self._order[place] = start  # from its first record on: the run may end within a video
                yield held
            held = record

    def records(self) -> Iterator[Record]:
        """All records in the order of the scan."""
        self.flush()
        with self.path.open("rb") as file:
            at = -1
            for offset in self._order:
                if offset < 0:  # was not reached
                    continue
                if at != offset:
                    file.seek(offset)
                at = offset
                while (row := _parsed(line := file.readline())) is not None:
                    at += len(line)
                    last = "file" in row
                    row.pop("file", None)
                    yield Record(**row)
                    if last:
                        break

    def flush(self) -> None:
        """Sees to it that all is on the disk. Raises `WriteError`."""
        if self._file is not None:
            with self._written():
                self._file.flush()
                os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        """Closes the file; nothing is lost without it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, mode: Literal["wb", "r+b"]) -> None:
        with self._written(""):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open(mode, buffering=0)

    def _truncate(self, end: int) -> None:
        assert self._file is not None
        with self._written():
            self._file.truncate(end)
            self._file.seek(end)
        self._end = end

    def _append(self, row: Mapping[str, Any]) -> None:
        assert self._file is not None
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        with self._written():
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
        self._end += len(line)
        if time.monotonic() - self._synced > _SYNC_S:
            self.flush()

    @contextlib.contextmanager
    def _written(self, advice: str = " What it has is kept; make room, and go on with --resume.") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise WriteError(f"Cannot write {self.path}: {error.strerror or error}.{advice}") from error


def _key(source: str, state: str) -> int:
    """64 bits of both: among ten million files, two have the same once in 300,000 archives."""
    digest = hashlib.blake2b(f"{source}\0{state}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The object on a line; None for one that is cut short."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _sha256(file: io.FileIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
