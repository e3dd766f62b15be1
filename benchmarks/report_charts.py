"""The report's charts as HTML and inline SVG: scatters, a histogram, bars with ranges, stacked bars."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from report_axes import Axis, frame, short, tick_labels

from lifeiqa.runtime.report.markup import number, safe

HISTOGRAM_BARS = 25  # odd, so that the middle one is of no difference
LINEAR_UP_TO = 20.0  # times the smallest: where bars of one scale can still be told apart


@dataclass(frozen=True)
class Bar:
    """One row of a chart of bars.

    Attributes:
        name: of what was measured.
        detail: small, beside the name; may be "".
        value: the length.
        low, high: ends of the range; None where there is none.
        text: what stands at the end.
        tone: class that gives the colour.
    """

    name: str
    detail: str
    value: float
    low: float | None
    high: float | None
    text: str
    tone: str = "plain"


@dataclass(frozen=True)
class Point:
    """A point of the scatter of accuracy and speed: SROCC with its 95 % interval, and milliseconds a crop."""

    name: str
    detail: str
    ms: float
    srocc: float
    interval: tuple[float, float] | None
    tone: str


def _dot(x: float, y: float, title: str, tone: str = "plain") -> str:
    """A round dot, whatever way the drawing is stretched: a line of no length with round ends."""
    hole = f'<path class="hole" d="M{x:.3f} {y:.3f}h0"/>' if "hollow" in tone else ""
    return f'<path class="dot {tone}" d="M{x:.3f} {y:.3f}h0"><title>{safe(title)}</title></path>{hole}'


def pair_scatter(pairs: Sequence[Mapping[str, Any]], what: str) -> str:
    """A dot for each picture: its score by the FP32 export from left to right, by the artifact upwards."""
    axis = Axis.linear(value for pair in pairs for value in (pair["reference"], pair["score"]))
    dots = "".join(
        _dot(
            axis.place(pair["reference"]),
            100 - axis.place(pair["score"]),
            f"{pair['picture']}: FP32 {short(pair['reference'])}, {what} {short(pair['score'])}",
        )
        for pair in pairs
    )
    words = (f"Scores of {number(len(pairs))} pictures, FP32 and {what}", "score, FP32", f"score, {what}")
    return frame(axis, axis, f'<path class="same" d="M0 100L100 0"/>{dots}', words, "square")


def difference_histogram(pairs: Sequence[Mapping[str, Any]], what: str) -> str:
    """How many pictures have which difference of the two scores."""
    differences = [pair["score"] - pair["reference"] for pair in pairs]
    reach = max(map(abs, differences)) or 1.0
    width = 2 * reach / (HISTOGRAM_BARS - 1)  # so that the outer bars have the extremes in their middle
    counts = [0] * HISTOGRAM_BARS
    for difference in differences:
        counts[min(HISTOGRAM_BARS - 1, max(0, round(difference / width) + HISTOGRAM_BARS // 2))] += 1
    low = -width * HISTOGRAM_BARS / 2
    ticks = [tick for tick in Axis.linear((-reach, reach)).ticks if abs(tick) <= -low]
    x, y = Axis(low, -low, tuple(ticks)), _count_axis(max(counts))
    step = 100 / HISTOGRAM_BARS
    shapes = []
    for k, count in enumerate(counts):
        if count:
            height = y.place(count)
            ends = (low + width * k, low + width * (k + 1))
            title = f"{short(ends[0])} to {short(ends[1])}: {number(count)}"
            shapes.append(
                f'<rect class="plain" x="{step * (k + 0.06):.2f}" y="{100 - height:.2f}" width="{0.88 * step:.2f}" '
                f'height="{height:.2f}"><title>{title}</title></rect>'
            )
    middle = statistics.median(differences)
    side = " left" if middle > 0.2 * reach else ""
    over = f'<div class="median{side}" style="left:{x.place(middle):.2f}%"><span>median {middle:+.2g}</span></div>'
    words = (f"Differences of {number(len(pairs))} scores", f"score {what} - score FP32", "pictures")
    return frame(x, y, "".join(shapes), words, "columns", over)


def _count_axis(most: int) -> Axis:
    axis = Axis.linear((0, most))
    whole = tuple(tick for tick in axis.ticks if tick == round(tick))
    return Axis(0.0, axis.high, whole)


def bars(rows: Sequence[Bar], what: str) -> str:
    """A row for each: a bar from 0 with its range; where the values are too far apart, a dot on a logarithmic scale.

    A bar has no honest length on a logarithmic scale, for that has no 0.
    """
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    log = min(ends) > 0 and max(ends) / min(row.value for row in rows) > LINEAR_UP_TO
    axis = Axis.logarithmic(ends) if log else Axis.linear([0.0, *ends])
    grid = "".join(f'<line x1="{axis.place(t):.2f}" x2="{axis.place(t):.2f}" y1="0" y2="10"/>' for t in axis.ticks)
    cells = []
    for row in rows:
        place = axis.place(row.value)
        title = f"{row.name}: {row.text}"
        if log:
            shape = f'<path class="dot large {row.tone}" d="M{place:.2f} 5h0"/>'
        else:
            left, right = sorted((axis.place(0.0), place))
            shape = f'<rect class="{row.tone}" x="{left:.2f}" y="2" width="{max(0.3, right - left):.2f}" height="6"/>'
        if row.low is not None and row.high is not None:
            low, high = axis.place(row.low), axis.place(row.high)
            line = f'<path class="range" d="M{low:.2f} 5H{high:.2f}M{low:.2f} 3.5V6.5M{high:.2f} 3.5V6.5"/>'
            shape = line + shape if log else shape + line
            title += f", {short(row.low)} to {short(row.high)}"
        detail = f" <small>{safe(row.detail)}</small>" if row.detail else ""
        cells.append(
            f'<span class="who">{safe(row.name)}{detail}</span>'
            f'<svg class="track" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{safe(title)}">'
            f'<title>{safe(title)}</title><g class="grid">{grid}</g>{shape}</svg>'
            f'<span class="number">{safe(row.text)}</span>'
        )
    scale = f"{what}, logarithmic scale" if log else what
    return (
        f'<div class="bars">{"".join(cells)}<div class="axis" aria-hidden="true">{tick_labels(axis)}</div>'
        f'<p class="x-name">{safe(scale)}</p></div>'
    )


def accuracy_scatter(points: Sequence[Point]) -> str:
    """Points with the numbers 1 and up, in the order given: milliseconds a crop to the right, SROCC upwards."""
    x = Axis.logarithmic(point.ms for point in points)
    y = Axis.linear(value for p in points for value in (p.srocc, *(p.interval or ())))
    shapes, labels = [], []
    for k, point in enumerate(points, 1):
        left, top = x.place(point.ms), 100 - y.place(point.srocc)
        title = f"{k} {point.name}: SROCC {point.srocc:.3f}, {short(point.ms)} ms"
        if point.interval:
            ends = [100 - y.place(end) for end in point.interval]
            shapes.append(f'<path class="range" d="M{left:.2f} {ends[0]:.2f}V{ends[1]:.2f}"/>')
        shapes.append(_dot(left, top, title, f"large {point.tone}"))
        near = [abs(x.place(p.ms) - left) < 9 and abs(y.place(p.srocc) + top - 100) < 9 for p in points]
        way = ("above", "below")[sum(near[:k]) % 2] if sum(near) > 1 else "right"
        labels.append(f'<b class="mark {way}" style="left:{left:.2f}%;top:{top:.2f}%" aria-hidden="true">{k}</b>')
    words = ("Accuracy against speed", "ms a crop, batch 1, logarithmic scale", "SROCC with people")
    return frame(x, y, "".join(shapes), words, "tall", "".join(labels))


def stacked(parts: Mapping[str, float], unit: str) -> str:
    """One bar of all parts, and a table of their figures and shares. The names are of steps, and choose the colours."""
    total = math.fsum(parts.values()) or 1.0
    left, shapes, rows = 0.0, [], []
    for name, value in parts.items():
        width = 100 * value / total
        title = f"{name}: {short(value)} {unit}"
        shapes.append(
            f'<rect class="step-{name}" x="{left:.2f}" y="0" width="{width:.2f}" height="10">'
            f"<title>{safe(title)}</title></rect>"
        )
        left += width
        rows.append(
            f'<tr><th scope="row"><span class="grade step-{name}">{safe(name)}</span></th>'
            f'<td class="number">{short(value)} {safe(unit)}</td><td class="number">{width:.1f} %</td></tr>'
        )
    rows.append(f'<tr><th scope="row">sum</th><td class="number">{short(total)} {safe(unit)}</td><td></td></tr>')
    words = ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in parts.items())
    return (
        '<svg class="stack" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(words)}">{"".join(shapes)}</svg><table class="shares">{"".join(rows)}</table>'
    )
