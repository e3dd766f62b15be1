"""The rows of the page's table: kept in bounded memory, written as compact JSON that is inert inside HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from lifeiqa.runtime.manifest import GRADES, ScoreScale
from lifeiqa.runtime.sinks.record import Record

LIMIT = 100_000
FAILED_LIMIT = 10_000


class Row(NamedTuple):
    """What the table shows of a record. `text` is its note, or its error where there is no score."""

    source: str
    score: float | None
    grade: str | None
    text: str
    frame: int | None
    time_s: float | None
    rank: float = 0.0


class Rows:
    """All rows while they are few; of more, the worst and the best.

    Attributes:
        scored, failed: how many records came, kept or not.
    """

    def __init__(self, higher_is_better: bool, limit: int = LIMIT, failed_limit: int = FAILED_LIMIT) -> None:
        self.scored = self.failed = 0
        self._limit, self._failed_limit = limit, failed_limit
        self._sign = 1.0 if higher_is_better else -1.0
        self._rows: list[Row] = []
        self._failed: list[Row] = []
        self._texts: dict[str, str] = {}

    def add(self, record: Record) -> None:
        """Takes a record."""
        if record.score is None:
            self.failed += 1
            if len(self._failed) < self._failed_limit:
                self._failed.append(Row(record.source, None, None, record.error or "", record.frame, record.time_s))
            return
        self.scored += 1
        text = self._texts.setdefault(record.note, record.note) if record.note else ""  # one object for equal notes
        rank = record.rank or 0.0
        self._rows.append(Row(record.source, record.score, record.grade, text, record.frame, record.time_s, rank))
        if len(self._rows) >= 1.5 * self._limit + 2:
            self._prune()

    def sorted(self) -> list[Row]:
        """The rows, the worst first, and after them those that failed."""
        self._prune()
        return self._rows + self._failed

    @property
    def left_out(self) -> tuple[int, int]:
        """How many scored and failed records have no row."""
        return max(0, self.scored - self._limit), self.failed - len(self._failed)

    def _prune(self) -> None:
        """Sorts, and drops the middle. What is dropped is among the worst or best of no longer list either."""
        self._rows.sort(key=lambda row: self._sign * row.rank)
        if len(self._rows) > self._limit:
            worst = self._limit // 2
            del self._rows[worst : len(self._rows) - (self._limit - worst)]
            self._texts = {row.text: row.text for row in self._rows}


def to_json(rows: Iterable[Row], scale: ScoreScale, span: tuple[float, float], digits: int) -> str:
    """One object of columns, see `page.js`: equal folders and texts are written once. Holds no `<`.

    Args:
        rows: in the order of the table, the worst first.
        scale: the model's.
        span: lowest and highest score of the bars.
        digits: of the scores, after the point.
    """
    folders, texts = dict[str, int](), {"": 0}
    columns: dict[str, list[Any]] = {name: [] for name in ("folder", "name", "score", "text", "frame", "time")}
    grades = list[str]()
    for row in rows:
        cut = row.source.rfind("/") + 1 or row.source.rfind("\\") + 1
        columns["folder"].append(folders.setdefault(row.source[:cut], len(folders)))
        columns["name"].append(row.source[cut:])
        columns["score"].append(None if row.score is None else round(row.score, digits))
        columns["text"].append(texts.setdefault(row.text, len(texts)))
        columns["frame"].append(row.frame)
        columns["time"].append(None if row.time_s is None else round(row.time_s, 2))
        grades.append("-" if row.grade is None else str(GRADES.index(row.grade)))
    if not any(frame is not None for frame in columns["frame"]):
        columns["frame"] = columns["time"] = []
    table = {**columns, "grade": "".join(grades), "folders": list(folders), "texts": list(texts)}
    bars = {"low": span[0], "high": span[1], "lower": not scale.higher_is_better}
    return inert_json({**table, **bars, "grades": list(GRADES), "digits": digits})


def inert_json(value: Any) -> str:
    """JSON that may stand inside a `<script>` element, whatever its strings hold."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
