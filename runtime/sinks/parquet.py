"""Records as a Parquet file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lifeiqa.runtime.arrow import require_arrow
from lifeiqa.runtime.sinks.record import Record

ROWS = 65536  # of a row group; so many are in memory at a time


@contextmanager
def parquet_writer(path: Path) -> Iterator[Callable[[Record], None]]:
    """Yields what writes a record; a column for each of its fields. Raises `MissingError` without pyarrow."""
    pyarrow, parquet = require_arrow("Parquet"), require_arrow("Parquet", "pyarrow.parquet")
    text, number, whole = pyarrow.string(), pyarrow.float64(), pyarrow.int64()
    kinds = {"source": text, "grade": text, "error": text, "note": text, "crops": whole, "frame": whole}
    kinds["dropped"] = whole
    schema = pyarrow.schema([(name, kinds.get(name, number)) for name in Record.__dataclass_fields__])
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as table:

        def flush() -> None:
            table.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(record: Record) -> None:
            rows.append(asdict(record))
            if len(rows) == ROWS:
                flush()

        yield write
        flush()
