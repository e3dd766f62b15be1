"""The page about a proof: one self-contained HTML file, one side of A4 in print, with lines to sign on."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.conformance.checks import Proof, Scores
from lifeiqa.runtime.conformance.golden import GoldenSet
from lifeiqa.runtime.conformance.subject import Subject
from lifeiqa.runtime.report.markup import safe
from lifeiqa.runtime.report.template import fill, read

_SIDE = 112  # of a small picture, in pixels
_PLOT = (34, 8, 226)  # left, top and side of the scatter's square


def page(subject: Subject, proof: Proof, golden: GoldenSet) -> str:
    """The whole page as text."""
    scale = golden.scale
    passed = len(proof.judged) - len(proof.failed)
    parts = {
        "title": safe(f"{subject.name}, {subject.precision}"),
        "date": safe(subject.date),
        "verdict": "Conforms" if proof.passed else "Does not conform",
        "verdict_kind": "pass" if proof.passed else "fail",
        "summary": safe(f"{passed} of {len(proof.judged)} checks pass on {subject.machine['engine']}"),
        "model": _facts(subject.model),
        "machine": _facts(subject.machine),
        "checks": _table(proof),
        "scatter": _scatter(proof.expected, proof.several),
        "crops": _crops(proof, golden),
        "range": f"{scale.low:g} to {scale.high:g}" + (", the checkpoint's own" if scale.own else ""),
        "golden": safe(", ".join(subject.golden.values())),
    }
    package = "lifeiqa.runtime.conformance"
    return fill(read(package, "page.html"), parts, read(package, "page.css"))


def _facts(facts: Mapping[str, str]) -> str:
    rows = list[str]()
    for name, value in facts.items():
        kind = ' class="hash"' if "sha256" in name else ""
        rows.append(f"<dt>{safe(name)}</dt><dd{kind}>{safe(value)}</dd>")
    return f"<dl>{''.join(rows)}</dl>"


def _table(proof: Proof) -> str:
    words = {True: ("pass", "pass"), False: ("FAIL", "fail"), None: ("-", "none")}
    rows = list[str]()
    for check in proof.checks:
        word, kind = words[check.passed]
        rows.append(
            f'<tr><th scope="row">{safe(check.name)}</th><td class="result {kind}">{word}</td>'
            f"<td>{safe(check.measured)}</td><td>{safe(check.limit)}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Check", "Result", "Measured", "Limit"))
    return f'<table class="checks"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _scatter(expected: Scores, found: Scores) -> str:
    """Measured scores over stored ones as SVG, with the line on which they are equal."""
    finite = np.isfinite(found) if len(found) else np.zeros(len(expected), bool)
    if not finite.any():
        return '<p class="note">Nothing could be scored.</p>'
    every = np.concatenate([expected, found[finite]])
    low, high = float(every.min()), float(every.max())
    margin = 0.05 * (high - low) or 1.0
    low, high = low - margin, high + margin
    left, top, side = _PLOT

    def x(value: float) -> float:
        return left + side * (value - low) / (high - low)

    def y(value: float) -> float:
        return top + side * (high - value) / (high - low)

    dots = "".join(
        f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.2"><title>{a:.2f} stored, {b:.2f} measured</title></circle>'
        for a, b in zip(expected[finite], found[finite], strict=True)
    )
    ticks = list[str]()
    for value in _ticks(low, high):
        ticks.append(f'<text x="{x(value):.1f}" y="{top + side + 14}" text-anchor="middle">{value:g}</text>')
        ticks.append(f'<text x="{left - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    right, bottom = left + side, top + side
    return (
        f'<svg class="scatter" viewBox="0 0 {right + 8} {bottom + 34}" role="img" '
        f'aria-label="Measured over stored scores of {int(finite.sum())} crops">'
        f'<rect class="frame" x="{left}" y="{top}" width="{side}" height="{side}"/>'
        f'<line class="ideal" x1="{left}" y1="{bottom}" x2="{right}" y2="{top}"/>{"".join(ticks)}'
        f'<text x="{left + side / 2}" y="{bottom + 30}" text-anchor="middle">stored</text>'
        f'<text x="{left + 6}" y="{top + 14}">measured</text>{dots}</svg>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two, three to seven."""
    power = 10.0 ** np.floor(np.log10(high - low))
    step = next(float(n * power) for n in (0.1, 0.2, 0.25, 0.5, 1) if (high - low) / (n * power) <= 6)
    return [float(k * step) for k in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]


def _crops(proof: Proof, golden: GoldenSet) -> str:
    """Small pictures, the lowest stored score first."""
    digits = 2 if golden.scale.span < 1000 else 0
    tiles = list[str]()
    for k in np.argsort(proof.expected, kind="stable"):
        name, expected = safe(golden.crops[k].name), proof.expected[k]
        line = f"{expected:.{digits}f} stored"
        if len(proof.several):
            line = f"<b>{proof.several[k]:.{digits}f}</b> {proof.several[k] - expected:+.{digits}f}"
        tiles.append(f'<li>{_img(golden.pixels[k], name)}<p>{line}</p><p class="what">{name}</p></li>')
    return f'<ul class="crops">{"".join(tiles)}</ul>'


def _img(crop: UInt8Array, alt: str) -> str:
    data = io.BytesIO()
    small = Image.fromarray(crop).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    small.save(data, "JPEG", quality=78, optimize=True)
    source = base64.b64encode(data.getvalue()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{source}" width="{_SIDE}" height="{_SIDE}" alt="{alt}">'
