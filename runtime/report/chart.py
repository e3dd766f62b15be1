"""The histogram of scores and the shares of the grades, as HTML and inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lifeiqa.runtime.manifest import GRADES, ScoreScale
from lifeiqa.runtime.report.histogram import Histogram
from lifeiqa.runtime.report.markup import grade_mark, number


def histogram(scores: Histogram, scale: ScoreScale, digits: int) -> str:
    """Bars as SVG that is stretched to any width, and around them labels that keep the size of text."""
    bars = scores.bars()
    low, high = bars[0].low, bars[-1].high
    top, step = _ticks(max(bar.count for bar in bars))
    shapes, grid, labels = list[str](), list[str](), list[str]()
    for k, bar in enumerate(bars):
        if bar.count:
            height = max(0.6, 100 * bar.count / top)  # so that a single picture among very many is seen
            grade = scale.grade((bar.low + bar.high) / 2) or "plain"
            what = f"{_short(bar.low, digits)} to {_short(bar.high, digits)}: {number(bar.count)}"
            shapes.append(
                f'<rect class="{grade}" x="{k + 0.06:.2f}" y="{100 - height:.2f}" width="0.88" '
                f'height="{height:.2f}"><title>{what}</title></rect>'
            )
    for count in range(0, top + 1, step):
        y = 100 - 100 * count / top
        grid.append(f'<line x1="0" x2="{len(bars)}" y1="{y:.2f}" y2="{y:.2f}"/>')
        labels.append(f'<span style="top:{y:.2f}%">{number(count)}</span>')
    median = scores.quantile(0.5)
    mark = ""
    if median is not None:
        left = 100 * (median - low) / (high - low)
        side = " left" if left > 60 else ""
        mark = f'<div class="median{side}" style="left:{left:.2f}%"><span>median {median:.{digits - 1}f}</span></div>'
    words = f"Histogram of {number(scores.count)} scores"
    return (
        f'<div class="chart"><div class="counts" style="width:{len(number(top))}ch" aria-hidden="true">'
        f'{"".join(labels)}</div><div class="plot">'
        f'<svg viewBox="0 0 {len(bars)} 100" preserveAspectRatio="none" role="img" aria-label="{words}">'
        f'<g class="grid">{"".join(grid)}</g>{"".join(shapes)}</svg>{mark}</div>'
        f'<div class="axis" aria-hidden="true">{_axis(low, high, scale)}</div></div>'
    )


def shares(grades: Mapping[str, int], scale: ScoreScale) -> str:
    """A row for each grade: its range, how many pictures have it, and their share; each shows them in the table."""
    total = sum(grades.values())
    most = max(grades.values(), default=0) or 1
    rows = list[str]()
    for k, grade in reversed(list(enumerate(GRADES))):
        count = grades.get(grade, 0)
        low, high = (scale.low + scale.span * border for border in (max(0.0, k - 0.5) / 4, min(4.0, k + 0.5) / 4))
        bar = f'<i class="{grade}" style="width:{100 * count / most:.1f}%"></i>' if count else ""
        rows.append(
            f'<tr><th scope="row"><a href="#grade={grade}">{grade_mark(grade)}</a></th>'
            f'<td class="range">{low:g} to {high:g}</td>'
            f'<td class="bar">{bar}</td>'
            f'<td class="number">{number(count)}</td><td class="number share">{_percent(count, total)}</td></tr>'
        )
    head = '<tr><th scope="col">Grade</th><th scope="col" class="range">Scores</th><th></th>'
    head += '<th scope="col" class="number">Pictures</th><th scope="col" class="number">Share</th></tr>'
    return f'<table class="shares"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def _axis(low: float, high: float, scale: ScoreScale) -> str:
    """Borders of the grades with their names between them; five even ticks where there are no grades."""
    if scale.own:
        places = [low + (high - low) * k / 4 for k in range(5)]
        return "".join(f'<b style="left:{25 * k}%">{place:.3g}</b>' for k, place in enumerate(places))
    borders = [0.0, *(100 * (k + 0.5) / (len(GRADES) - 1) for k in range(len(GRADES) - 1)), 100.0]
    ticks = "".join(f'<b style="left:{b:g}%">{scale.low + scale.span * b / 100:g}</b>' for b in borders)
    names = "".join(
        f'<span class="grade {grade}" style="left:{(borders[k] + borders[k + 1]) / 2:g}%">{grade}</span>'
        for k, grade in enumerate(GRADES)
    )
    return ticks + names


def _short(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")


def _percent(count: int, total: int) -> str:
    share = 100 * count / total if total else 0.0
    if count and share < 0.1:
        return "&lt; 0.1 %"
    return f"{share:.1f} %"


def _ticks(most: int) -> tuple[int, int]:
    """A round end of the axis, and a round step that leads there."""
    raw = max(1, most) / 4
    power = 10 ** math.floor(math.log10(raw)) if raw >= 1 else 1
    step = next(int(n * power) for n in (1, 2, 2.5, 5, 10) if n * power >= raw and n * power == int(n * power))
    return step * -(-max(1, most) // step), step
