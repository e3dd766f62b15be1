"""Takes the records of a run as they come, and writes the report at its end."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from lifeiqa.runtime.files import atomic_text
from lifeiqa.runtime.images import MAX_PIXELS
from lifeiqa.runtime.manifest import GRADES, ScoreScale
from lifeiqa.runtime.report import chart, page
from lifeiqa.runtime.report.histogram import Histogram
from lifeiqa.runtime.report.markup import number, safe, storable
from lifeiqa.runtime.report.reasons import Reasons
from lifeiqa.runtime.report.rows import Rows, to_json
from lifeiqa.runtime.report.tiles import Span, tile
from lifeiqa.runtime.scorer import Scorer
from lifeiqa.runtime.sinks.record import Record

TILES = 12


class ReportBuilder:
    """Makes a report of any number of records, in memory that is bounded: for the table, by its 100,000 rows.

    Example:
        report = ReportBuilder(scorer.manifest.scale, "photos", "lifeiqa-lite0 (int8)")
        for record in records:
            report.add(record)
        report.write(Path("report.html"), scorer)
    """

    def __init__(self, scale: ScoreScale, title: str, model: str) -> None:
        """Begins a report.

        Args:
            scale: the model's.
            title: of the page, such as the folder that was scored.
            model: name of the model, for people.
        """
        self.scale, self.title, self.model = scale, storable(title), storable(model)
        self.histogram, self.reasons, self.grades = Histogram(scale), Reasons(), Counter[str]()
        self.rows = Rows(scale.higher_is_better)
        self._count, self._sign = 0, 1.0 if scale.higher_is_better else -1.0
        self._worst: list[tuple[float, int, Record]] = []  # heaps: the first is the one that goes next
        self._best: list[tuple[float, int, Record]] = []

    def add(self, record: Record) -> None:
        """Takes a record; what it holds counts at once, and its picture is not read."""
        self._count += 1
        record = replace(record, source=storable(record.source), error=_storable(record.error))
        record = replace(record, note=_storable(record.note))
        self.rows.add(record)
        if record.score is None:
            self.reasons.add(record.source, record.error or "no score")
            return
        self.histogram.add(record.score)
        if record.grade is not None:
            self.grades[record.grade] += 1
        if record.frame is None and record.rank is not None:
            goodness = self._sign * record.rank
            _keep(self._worst, (-goodness, -self._count, record))
            _keep(self._best, (goodness, self._count, record))  # of equal scores the later, so that none is in both

    def extremes(self) -> tuple[list[Record], list[Record]]:
        """The worst pictures and the best, each with the most extreme first. None is in both."""
        worst = [record for _, _, record in sorted(self._worst, reverse=True)]
        best = [record for _, _, record in sorted(self._best, reverse=True)]
        there = {abs(number): record for _, number, record in (*self._worst, *self._best)}
        if len(there) < 2 * TILES:  # then these are all pictures
            every = sorted(there.items(), key=lambda item: (self._sign * (item[1].rank or 0.0), item[0]))
            half = (len(every) + 1) // 2
            worst = [record for _, record in every[:half]]
            best = [record for _, record in every[half:]][::-1]
        return worst, best

    def write(
        self,
        path: Path,
        scorer: Scorer,
        passed_over: Mapping[str, int] | None = None,
        max_pixels: int = MAX_PIXELS,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Writes the page, whole or not at all. Reads up to 24 pictures again, for their small copies and maps.

        Args:
            path: of the HTML file.
            scorer: the model that gave the scores.
            passed_over: how many files of each kind were no pictures, where that is known.
            max_pixels: a picture of more is not read.
            progress: told after every picture how many of how many are done.

        Raises:
            WriteError: the file cannot be written.
        """
        digits = 2 if self.scale.span >= 10 and not self.scale.own else 4
        span = self._span()
        worst, best = self.extremes()
        tiles = list[str]()
        for record in (*worst, *best):
            tiles.append(tile(record, scorer, span, max_pixels, digits - 1))
            progress(len(tiles), len(worst) + len(best))
        ends = (span.worst, span.best)
        legend = page.legend(*(f"{end:.{digits - 1}f}" if self.scale.own else f"{end:g}" for end in ends))
        now = datetime.now().astimezone()
        text = page.assemble(
            {
                "title": safe(self.title),
                "model": safe(self.model),
                "date": f'<time datetime="{now.isoformat(timespec="seconds")}">{now:%Y-%m-%d %H:%M}</time>',
                "figures": page.figures(self._figures(passed_over, digits)),
                "scores": self._scores(digits),
                "worst": page.tiles_section("worst", "Worst", tiles[: len(worst)], legend),
                "best": page.tiles_section("best", "Best", tiles[len(worst) :], legend),
                "failed": page.reasons_section(self.reasons),
                "left_out": self._left_out(),
                "buttons": self._buttons(),
                "data": to_json(self.rows.sorted(), self.scale, (min(ends), max(ends)), digits),
            }
        )
        with atomic_text(path) as file:
            file.write(text)

    def _span(self) -> Span:
        """Of the scale; of a scale nobody knows, nearly all scores that there were."""
        low, high = self.scale.low, self.scale.high
        if self.scale.own:
            low, high = self.histogram.quantile(0.02) or 0.0, self.histogram.quantile(0.98) or 0.0
            high = max(high, low + 1e-6 * max(1.0, abs(low)))
        return Span(low, high) if self.scale.higher_is_better else Span(high, low)

    def _figures(self, passed_over: Mapping[str, int] | None, digits: int) -> dict[str, str]:
        median = self.histogram.quantile(0.5)
        values = {"scored": number(self.rows.scored), "failed": number(self.rows.failed)}
        if passed_over is not None:
            kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(passed_over).most_common())
            values["passed over"] = f'<span title="{safe(kinds)}">{number(sum(passed_over.values()))}</span>'
        if median is not None:
            values["median score"] = f"{median:.{digits - 1}f}"
        return values

    def _scores(self, digits: int) -> str:
        if not self.histogram.count:
            return '<p class="none">No picture has a score.</p>'
        drawn = chart.histogram(self.histogram, self.scale, digits)
        if self.scale.own:
            way = "higher" if self.scale.higher_is_better else "lower"
            return f'<div class="card wide">{drawn}<p class="more">The model\'s own scale; {way} is better.</p></div>'
        return f'<div class="card">{drawn}</div><div class="card">{chart.shares(self.grades, self.scale)}</div>'

    def _left_out(self) -> str:
        """Says of which records the table has no row."""
        scored, failed = self.rows.left_out
        half = number((self.rows.scored - scored) // 2)
        lines = []
        if scored:
            lines.append(f"The table has the worst and the best {half} of {number(self.rows.scored)} scored pictures.")
        if failed:
            kept = number(self.rows.failed - failed)
            lines.append(f"Of {number(self.rows.failed)} failures the table has the first {kept}.")
        return f'<p class="left-out">{" ".join(lines)}</p>' if lines else ""

    def _buttons(self) -> str:
        names = [] if self.scale.own else list(GRADES)
        names += ["failed"] if self.rows.failed else []
        return "".join(
            f'<button type="button" class="grade {name}" data-grade="{name}" aria-pressed="false">{name}</button>'
            for name in names
        )


def _keep(heap: list[tuple[float, int, Record]], entry: tuple[float, int, Record]) -> None:
    """Keeps the `TILES` largest. The numbers differ, so that two records never compare."""
    if len(heap) < TILES:
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)
