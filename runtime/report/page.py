"""Puts the page together: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from lifeiqa.runtime.report.markup import number, safe
from lifeiqa.runtime.report.reasons import Reasons
from lifeiqa.runtime.report.template import fill, read

REASONS = 12  # that are shown with examples


def assemble(parts: Mapping[str, str]) -> str:
    """Fills `page.html`."""
    package = "lifeiqa.runtime.report"
    return fill(read(package, "page.html"), parts, script=read(package, "page.js"))


def figures(values: Mapping[str, str]) -> str:
    """Large numbers side by side, each with its name."""
    return "".join(f"<div><dt>{safe(name)}</dt><dd>{value}</dd></div>" for name, value in values.items())


def tiles_section(kind: str, title: str, tiles: list[str], legend: str) -> str:
    """Pictures under a heading; nothing where there are none."""
    if not tiles:
        return ""
    head = f'<div class="head"><h2 id="{kind}-title">{title}</h2>{legend}</div>'
    body = f'{head}<ul class="tiles">{"".join(tiles)}</ul>'
    return f'<section id="{kind}" aria-labelledby="{kind}-title">{body}</section>'


def legend(worst: str, best: str) -> str:
    """Of the colours of the quality maps."""
    return (
        f'<p class="legend"><span>Quality map: {worst} worst</span>'
        f'<i role="img" aria-label="from orange over yellow to blue"></i><span>{best} best</span></p>'
    )


def reasons_section(reasons: Reasons) -> str:
    """Why pictures have no score, the most frequent reason first; nothing where all have one."""
    total = sum(reasons.counts.values())
    if not total:
        return ""
    cards = list[str]()
    for reason, count in reasons.counts.most_common(REASONS):
        lines = "".join(_example(source, error, reason) for source, error in reasons.examples[reason])
        further = count - len(reasons.examples[reason])
        more = f'<p class="more">and {number(further)} more</p>' if further else ""
        cards.append(f"<li><h3><b>{number(count)}</b> {safe(reason)}</h3><ul>{lines}</ul>{more}</li>")
    rest = reasons.counts.most_common()[REASONS:]
    if rest:
        of_rest = number(sum(count for _, count in rest))
        cards.append(f"<li><h3><b>{of_rest}</b> of {number(len(rest))} more reasons</h3></li>")
    return (
        '<section id="failed" aria-labelledby="failed-title"><div class="head"><h2 id="failed-title">Not scored</h2>'
        f'</div><ul class="reasons">{"".join(cards)}</ul></section>'
    )


def _example(source: str, error: str, reason: str) -> str:
    rest = error.removeprefix(reason).lstrip(" ;:")
    detail = f'<span class="detail">{safe(rest)}</span>' if rest else ""
    return (
        f'<li><span class="copyable"><code>{safe(source)}</code>'
        f'<button type="button" class="copy" hidden>Copy</button></span>{detail}</li>'
    )
