"""Records as lines of a table, for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

from lifeiqa.runtime.manifest import GRADES
from lifeiqa.runtime.sinks.record import Record, is_utf, write_line

BAR_WIDTH = 10
GRADE_WIDTH = max(map(len, GRADES))


def table_writer(file: IO[str], low: float, high: float) -> Callable[[Record], None]:
    """Writes the head of the table, and returns what writes a row. `low` and `high` are the ends of the bars."""
    write_line(file, f"{'score':>7}  {'grade':{GRADE_WIDTH}}  {'std':>5}  {'':{BAR_WIDTH}}  source")
    return lambda record: write_line(file, _row(record, low, high, is_utf(file)))


def _row(record: Record, low: float, high: float, blocks: bool) -> str:
    where = "".join(c if c.isprintable() else "?" for c in record.source)
    if record.frame is not None:
        where += f"  frame {record.frame}, {record.time_s:.2f} s"
        if record.age_s is not None:
            where += f", {record.age_s * 1000:.0f} ms old, {record.dropped} dropped"
    if record.score is None or record.std is None:
        return f"{'-':>7}  {'-':{GRADE_WIDTH}}  {'-':>5}  {'':{BAR_WIDTH}}  {where}: {record.error}"
    filled = round(BAR_WIDTH * min(1.0, max(0.0, (record.score - low) / (high - low))))
    full, empty = "█░" if blocks else "#."
    note = f"  ({record.note})" if record.note else ""
    bar = full * filled + empty * (BAR_WIDTH - filled)
    grade = record.grade or "-"
    return f"{record.score:7.2f}  {grade:{GRADE_WIDTH}}  {record.std:5.2f}  {bar}  {where}{note}"
