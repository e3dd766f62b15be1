"""Where results go: a table, JSON lines, CSV; one module a format."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from lifeiqa.runtime.sinks.csv import csv_writer
from lifeiqa.runtime.sinks.jsonl import jsonl_writer
from lifeiqa.runtime.sinks.record import Record
from lifeiqa.runtime.sinks.table import table_writer

__all__ = ["Record", "writer_for"]


def writer_for(form: str, file: IO[str], low: float, high: float) -> Callable[[Record], None]:
    """Returns the function that writes one record, at once, to `file`.

    Args:
        form: "table", "jsonl" or "csv".
        file: where to.
        low, high: the model's score range, for the bars of the table.
    """
    if form == "jsonl":
        return jsonl_writer(file)
    if form == "csv":
        return csv_writer(file)
    return table_writer(file, low, high)
