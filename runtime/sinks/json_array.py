"""Records as one JSON array, an object a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from lifeiqa.runtime.sinks.jsonl import to_jsonl
from lifeiqa.runtime.sinks.record import Record, is_utf, write_line


@contextmanager
def json_writer(file: IO[str]) -> Iterator[Callable[[Record], None]]:
    """Yields what writes a record; ends the array afterwards."""
    before = "[\n"

    def write(record: Record) -> None:
        nonlocal before
        file.write(before + to_jsonl(record, ascii_only=not is_utf(file)))
        before = ",\n"

    try:
        yield write
    finally:
        write_line(file, "[]" if before == "[\n" else "\n]")
