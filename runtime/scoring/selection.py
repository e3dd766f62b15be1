"""Of all records, those that somebody wants to see: the worst, the best, those below a score."""

from __future__ import annotations

import heapq
import os
from dataclasses import dataclass
from itertools import count
from typing import IO

from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.sinks import text_writer
from lifeiqa.runtime.sinks.record import Record, write_line
from lifeiqa.runtime.sources.names import from_printable


@dataclass(frozen=True)
class Wanted:
    """What is to be seen.

    Attributes:
        worst, best: so many records, 0 for none.
        below: records with a lower score, None for none.
        null: names alone, each ended by a NUL, as `xargs -0` reads them.
    """

    worst: int = 0
    best: int = 0
    below: float | None = None
    null: bool = False


class Selection:
    """Takes all records, and writes those that are wanted: below a score at once, the others by `finish`."""

    def __init__(self, wanted: Wanted, file: IO[str], form: str, scale: ScoreScale) -> None:
        """Keeps no more records than are wanted.

        Args:
            wanted: which.
            file: where they go.
            form: of the worst and the best, a text format.
            scale: the model's.
        """
        self._wanted, self._file, self._form, self._scale = wanted, file, form, scale
        self._number = count()
        self._worst, self._best = list[tuple[float, int, Record]](), list[tuple[float, int, Record]]()

    def offer(self, record: Record) -> None:
        """Looks at a record. Those without a score are never wanted."""
        if record.score is None or record.rank is None:
            return
        if self._wanted.below is not None and record.score < self._wanted.below:
            self._name(record)
        quality, number = (record.rank if self._scale.higher_is_better else -record.rank), next(self._number)
        for heap, size, key in ((self._worst, self._wanted.worst, -quality), (self._best, self._wanted.best, quality)):
            if size:
                item = (key, -number, record)  # of equal ones, the first stays
                (heapq.heappush if len(heap) < size else heapq.heappushpop)(heap, item)

    def finish(self) -> None:
        """Writes the worst, the very worst first, then the best, the very best first."""
        chosen = [record for heap in (self._worst, self._best) for *_, record in sorted(heap, reverse=True)]
        if self._wanted.null:
            for record in chosen:
                self._name(record)
        elif self._wanted.worst or self._wanted.best:
            with text_writer(self._form, self._file, self._scale.low, self._scale.high) as write:
                for record in chosen:
                    write(record)

    def _name(self, record: Record) -> None:
        if not self._wanted.null:
            write_line(self._file, record.source)
            return
        self._file.flush()
        self._file.buffer.write(os.fsencode(from_printable(record.source)) + b"\0")  # type: ignore[attr-defined]
        self._file.buffer.flush()  # type: ignore[attr-defined]
