"""The sections of the benchmark report about people's ratings: agreement with them, and what it costs in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from report_axes import short
from report_charts import Bar, Point, accuracy_scatter, bars
from report_files import Result
from report_sections import TONES, Cell, card, label, legend, note, table

from lifeiqa.runtime.report.markup import number

MODEL_SUFFIXES = (".onnx", ".pt", ".pth", ".engine")


def people(result: Result) -> str:
    """SROCC of every contender with people's ratings, a card for each data set."""
    cards, sources = [], list[str]()
    for measured in result.data["sets"]:
        rows = []
        for row in measured["results"]:
            if not row["subset"] and row.get("srocc") is not None:
                low, high = _interval(row) or (None, None)
                detail = "" if row.get("ms") is None else f"{short(row['ms'])} ms a picture"
                tone = "plain" if row["contender"].endswith(MODEL_SUFFIXES) else "classical"
                rows.append(Bar(row["contender"], detail, row["srocc"], low, high, f"{row['srocc']:.3f}", tone))
        for other in measured.get("published") or []:
            detail = f"published, trained {other['trained']}"
            text = f"{other['srocc']:.3f}"
            rows.append(Bar(other["method"], detail, other["srocc"], None, None, text, "hollow"))
            sources.append(other["source"])
        rows.sort(key=lambda row: -row.value)
        if rows:
            title = f"{measured['data']}, {number(measured['pictures'])} pictures"
            cards.append(card(bars(rows, "SROCC with people"), title))
    notes = note("Longer is better. Lines: 95\u00a0% intervals.")
    notes += "".join(note(f"Published: {source}") for source in dict.fromkeys(sources))
    return f'<div class="cards even rows">{"".join(cards)}</div>{notes}'


def accuracy(latencies: Sequence[Result], measured_people: Sequence[Result]) -> str:
    """Accuracy against speed, a card for each data set; "" where no contender has both.

    A contender of people.py is found by its file's SHA-256, or by its name; published figures by the method's name.
    """
    contenders = [contender for result in latencies for contender in result.data["contenders"]]
    cards = []
    for result in measured_people:
        digests = {c["name"]: c.get("sha256") for c in result.data["contenders"]}
        for measured in result.data["sets"]:
            points = sorted(_points(contenders, measured, digests), key=lambda point: point.ms)
            if points:
                rows: list[list[Cell]] = [
                    [str(k), (p.name, p.detail), short(p.ms), f"{p.srocc:.3f}"] for k, p in enumerate(points, 1)
                ]
                listed = table(("", "contender", "ms", "SROCC"), rows, 2)
                cards.append(card(accuracy_scatter(points) + listed, measured["data"]))
    if not cards:
        return ""
    words = note("Higher and further left is better. Vertical lines: 95\u00a0% intervals. Hollow: SROCC as published.")
    words += note("The SROCC of an exported model is that of its file, on the engine that people.py takes for it.")
    families = [contender["family"] for contender in contenders]
    return f'{legend(families)}<div class="cards even">{"".join(cards)}</div>{words}'


def _points(
    contenders: Sequence[Mapping[str, Any]], measured: Mapping[str, Any], digests: Mapping[str, str | None]
) -> Iterator[Point]:
    """A point for every contender that has both a latency of one crop and a SROCC on a data set."""
    for contender in contenders:
        name, detail = label(contender)
        ms = next((1000 * batch["median_s"] for batch in contender["batches"] if batch["batch"] == 1), None)
        row = _row_of(contender, measured["results"], digests)
        published = _published(contender["name"], measured)
        if ms is None:
            continue
        if row is not None:
            tone = TONES.get(contender["family"], "classical")
            yield Point(name, detail, ms, row["srocc"], _interval(row), tone)
        elif published is not None:
            yield Point(name, f"{detail}; SROCC as published", ms, published, None, "hollow")


def _row_of(
    contender: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], digests: Mapping[str, str | None]
) -> Mapping[str, Any] | None:
    """By the file, or by a name such as "laplacian", which latency.py calls "variance of the Laplacian"."""
    name, digest = contender["name"].casefold(), contender.get("artifact_sha256")
    for row in rows:
        if row["subset"] or row.get("srocc") is None:
            continue
        theirs = digests.get(row["contender"])
        if (digest and theirs == digest) or (not theirs and row["contender"].casefold() in (name, *name.split()[-1:])):
            return row
    return None


def _published(name: str, measured: Mapping[str, Any]) -> float | None:
    """Of the same method, trained on other data than the set."""
    for other in measured.get("published") or []:
        if other["method"].casefold() == name.casefold() and other["trained"] == "elsewhere":
            return float(other["srocc"])
    return None


def _interval(row: Mapping[str, Any]) -> tuple[float, float] | None:
    ends = row.get("srocc_interval")
    return (ends[0], ends[1]) if ends and len(ends) == 2 else None
