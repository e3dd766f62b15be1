"""Where results go: a table, JSON lines, a JSON array, CSV, Parquet; one module a format."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_path, atomic_text
from lifeiqa.runtime.sinks.csv import csv_writer
from lifeiqa.runtime.sinks.json_array import json_writer
from lifeiqa.runtime.sinks.jsonl import jsonl_writer, to_jsonl
from lifeiqa.runtime.sinks.parquet import parquet_writer
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sinks.table import table_writer

__all__ = ["FORMATS_BY_SUFFIX", "Record", "Writer", "results_writer", "text_writer", "to_jsonl"]

Writer = Callable[[Record], None]
FORMATS_BY_SUFFIX = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "table",
}


@contextmanager
def text_writer(form: str, file: IO[str], low: float, high: float) -> Iterator[Writer]:
    """Yields the function that writes one record, at once, to `file`.

    Args:
        form: "table", "jsonl", "json" or "csv".
        file: where to.
        low, high: the model's score range, for the bars of the table.

    Raises:
        UsageError: the form is no text.
    """
    if form == "json":
        with json_writer(file) as write:
            yield write
    elif form == "jsonl":
        yield jsonl_writer(file)
    elif form == "csv":
        yield csv_writer(file)
    elif form == "table":
        yield table_writer(file, low, high)
    else:
        raise UsageError(f"{form} needs a file to be written to: name one with --output.")


@contextmanager
def results_writer(form: str, path: Path, low: float, high: float) -> Iterator[Writer]:
    """Like `text_writer`, of any format, into a file that is whole or not there. Raises `WriteError`."""
    if form == "parquet":
        with atomic_path(path) as temporary, parquet_writer(temporary) as write:
            yield write
    else:
        with atomic_text(path) as file, text_writer(form, file, low, high) as write:
            yield write


def standard_output() -> IO[str]:
    """Standard output, able to write any name. Raises `UsageError` where it is closed."""
    if sys.stdout is None:
        raise UsageError("Standard output is closed; name a file with --output.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return sys.stdout
