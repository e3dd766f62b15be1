"""Results, one record a picture, as a table, JSON lines or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import IO

from lifeiqa.runtime.scorer import Score
from lifeiqa.runtime.sources.files import Sample

_STREAM_FIELDS = ("frame", "time_s", "age_s", "dropped")


@dataclass(frozen=True)
class Record:
    """One line of the output.

    Attributes:
        source: file or camera.
        score: None where there is an error.
        std: over crops.
        crops: how many were read; 0 where there is an error.
        error: None, or why there is no score.
        note: None, or what had to be changed to read the picture.
        frame, time_s: position in a video or camera stream, None for pictures.
        age_s, dropped: for cameras, age of the frame when its scoring began, and frames passed over before it.
    """

    source: str
    score: float | None
    std: float | None
    crops: int
    error: str | None = None
    note: str | None = None
    frame: int | None = None
    time_s: float | None = None
    age_s: float | None = None
    dropped: int | None = None

    @classmethod
    def of(cls, sample: Sample, score: Score | None, error: str | None = None) -> Record:
        """Puts a sample and its score (or the error in its place) together."""
        return cls(
            source=_printable(sample.source),
            score=None if score is None else round(score.score, 4),
            std=None if score is None else round(score.std, 4),
            crops=0 if score is None else score.crops,
            error=error if error is not None else sample.error,
            note=sample.note,
            frame=sample.frame,
            time_s=_rounded(sample.time_s),
            age_s=_rounded(sample.age_s),
            dropped=sample.dropped,
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _printable(name: str) -> str:
    """File names are bytes; one that is not UTF-8 keeps what can be shown of it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def to_jsonl(record: Record, ascii_only: bool = False) -> str:
    """One JSON object; the stream fields only where the record has any."""
    values = asdict(record)
    if record.frame is None:
        for name in _STREAM_FIELDS:
            del values[name]
    return json.dumps(values, ensure_ascii=ascii_only, allow_nan=False)


def writer_for(form: str, file: IO[str], low: float, high: float) -> Callable[[Record], None]:
    """Returns the function that writes one record, at once, to `file`.

    Args:
        form: "table", "jsonl" or "csv".
        file: where to.
        low, high: the model's score range, for the bars of the table.
    """
    if form == "jsonl":
        return lambda record: _line(file, to_jsonl(record, ascii_only=not _is_utf(file)))
    if form == "csv":
        table = csv.DictWriter(file, [field.name for field in fields(Record)])
        table.writeheader()

        def write_row(record: Record) -> None:
            table.writerow(asdict(record))
            file.flush()

        return write_row
    _line(file, f"{'score':>7}  {'std':>5}  {'':20}  source")
    return lambda record: _line(file, _table_row(record, low, high, _is_utf(file)))


def _line(file: IO[str], text: str) -> None:
    file.write(text + "\n")
    file.flush()


def _is_utf(file: IO[str]) -> bool:
    return (getattr(file, "encoding", None) or sys.getdefaultencoding()).lower().replace("-", "").startswith("utf")


def _table_row(record: Record, low: float, high: float, blocks: bool) -> str:
    where = "".join(c if c.isprintable() else "?" for c in record.source)
    if record.frame is not None:
        where += f"  frame {record.frame}, {record.time_s:.2f} s"
        if record.age_s is not None:
            where += f", {record.age_s * 1000:.0f} ms old, {record.dropped} dropped"
    if record.score is None or record.std is None:
        return f"{'-':>7}  {'-':>5}  {'':20}  {where}: {record.error}"
    filled = round(20 * min(1.0, max(0.0, (record.score - low) / (high - low))))
    bar = ("█" * filled + "░" * (20 - filled)) if blocks else ("#" * filled + "." * (20 - filled))
    note = f"  ({record.note})" if record.note else ""
    return f"{record.score:7.2f}  {record.std:5.2f}  {bar}  {where}{note}"
