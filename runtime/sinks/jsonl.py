"""Records as JSON lines, one object a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import IO

from lifeiqa.runtime.sinks.record import Record, is_utf, write_line

_STREAM_FIELDS = ("frame", "time_s", "age_s", "dropped")


def to_jsonl(record: Record, ascii_only: bool = False) -> str:
    """One JSON object; the stream fields and `raw` only where the record has any."""
    values = asdict(record)
    if record.frame is None:
        for name in _STREAM_FIELDS:
            del values[name]
    if record.raw is None:
        del values["raw"]
    return json.dumps(values, ensure_ascii=ascii_only, allow_nan=False)


def jsonl_writer(file: IO[str]) -> Callable[[Record], None]:
    """Returns what writes a line."""
    return lambda record: write_line(file, to_jsonl(record, ascii_only=not is_utf(file)))
