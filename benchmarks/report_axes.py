"""Axes of the report's charts: round ticks, linear and logarithmic, and the frame around a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lifeiqa.runtime.report.markup import safe


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        low, high: its ends; above 0 where it is logarithmic.
        ticks: values that get a label.
        log: whether it is logarithmic.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    @classmethod
    def linear(cls, values: Iterable[float], about: int = 4) -> Axis:
        """From the tick below the lowest value to the one above the highest."""
        values = list(values)
        low, high = min(values), max(values)
        if high - low < 1e-9 * max(1.0, abs(high)):  # one value
            low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
        raw = (high - low) / about
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power >= raw * (1 - 1e-9))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(first * step, last * step, tuple(k * step for k in range(first, last + 1)))

    @classmethod
    def logarithmic(cls, values: Iterable[float]) -> Axis:
        """With a tenth of a decade free at both ends; ticks at 1, 2 and 5 of each decade, or 1 alone over many."""
        values = list(values)
        low, high = min(values) / 1.26, max(values) * 1.26
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        digits = (1, 2, 5) if high / low < 60 else (1, 3) if high / low < 2000 else (1,)
        ticks = (digit * 10.0**decade for decade in decades for digit in digits)
        return cls(low, high, tuple(tick for tick in ticks if low <= tick <= high), True)

    def place(self, value: float) -> float:
        """Where a value lies, in percent from the low end."""
        if self.log:
            return 100 * math.log(value / self.low) / math.log(self.high / self.low)
        return 100 * (value - self.low) / (self.high - self.low)


def short(value: float) -> str:
    """A figure in three digits, never with an exponent where people read it."""
    if value and abs(value) < 0.01:
        return f"{value:.2g}"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return "0" if text == "-0" else text


def tick_labels(axis: Axis) -> str:
    """Labels of a horizontal axis, as the other report has them."""
    return "".join(f'<b style="left:{axis.place(tick):.2f}%">{short(tick)}</b>' for tick in axis.ticks)


def frame(x: Axis, y: Axis, drawn: str, words: tuple[str, str, str], kind: str = "", over: str = "") -> str:
    """A chart: SVG that is stretched to any width, and around it labels that keep the size of text.

    Args:
        x, y: the axes; the drawing's viewBox is 100 by 100, y downwards.
        drawn: SVG elements.
        words: what the whole shows, for who does not see it; the names of the x axis and the y axis.
        kind: further classes, such as "square".
        over: HTML that lies over the drawing.
    """
    lines = [f'<line x1="0" x2="100" y1="{100 - y.place(t):.2f}" y2="{100 - y.place(t):.2f}"/>' for t in y.ticks]
    if "columns" not in kind:
        lines += [f'<line y1="0" y2="100" x1="{x.place(t):.2f}" x2="{x.place(t):.2f}"/>' for t in x.ticks]
    counts = "".join(f'<span style="top:{100 - y.place(t):.2f}%">{short(t)}</span>' for t in y.ticks)
    width = max((len(short(t)) for t in y.ticks), default=2)
    name, x_name, y_name = map(safe, words)
    return (
        f'<div class="chart {kind}"><p class="y-name" aria-hidden="true">{y_name}</p>'
        f'<div class="counts" style="width:{width}ch" aria-hidden="true">{counts}</div><div class="plot">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{name}">'
        f'<g class="grid">{"".join(lines)}</g>{drawn}</svg>{over}</div>'
        f'<div class="axis" aria-hidden="true">{tick_labels(x)}</div>'
        f'<p class="x-name" aria-hidden="true">{x_name}</p></div>'
    )
