"""Records as rows of a CSV file, every field a column."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import IO

from lifeiqa.runtime.sinks.record import Record


def csv_writer(file: IO[str]) -> Callable[[Record], None]:
    """Writes the names of the columns, and returns what writes a row."""
    table = csv.DictWriter(file, [field.name for field in fields(Record)])
    table.writeheader()

    def write(record: Record) -> None:
        table.writerow(asdict(record))
        file.flush()

    return write
