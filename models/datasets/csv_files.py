"""Reads the CSV files that describe data sets."""

from __future__ import annotations

import csv
from pathlib import Path

from lifeiqa.runtime.errors import DatasetError


def read_table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Reads a CSV file in UTF-8 with at least these columns; row k is on line k + 2.

    Raises:
        DatasetError: the file is missing or no CSV, a column is missing, a row is too short or too long, or there is
            no row.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise DatasetError(f"Cannot read {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} is not a CSV file in UTF-8: {error}.") from error
    if not rows:
        raise DatasetError(f"{path} must be a CSV with the columns {','.join(columns)} and at least one row.")
    if not set(columns) <= rows[0].keys():
        found = ", ".join(repr(name) for name in rows[0] if name is not None)
        raise DatasetError(f"{path} must be a CSV with the columns {','.join(columns)}; it has {found}.")
    names = list(reader.fieldnames or ())
    if twice := [name for name in columns if names.count(name) > 1]:
        raise DatasetError(f"{path} has more than one column {', '.join(twice)}; leave one of each.")
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DatasetError(f"{path}, line {line}: has too few or too many cells.")
    return rows
