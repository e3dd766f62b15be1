"""Makes one HTML page of the result files of the benchmarks; it needs no network and no program.

python benchmarks/report.py latency.json end_to_end.json agreement.json people.json -o report.html

Takes what latency.py, end_to_end.py, agreement.py and people.py write with --json, in any number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import report_people
import report_sections as sections
import typer
from report_axes import short
from report_files import Result, read_results

from lifeiqa.runtime.console import new_app, run_app, say
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.report.markup import safe
from lifeiqa.runtime.report.page import figures
from lifeiqa.runtime.report.template import fill

app = new_app()
HERE = Path(__file__).resolve().parent
_DIGEST = re.compile(r"[0-9a-f]{64}")


def make_page(results: Sequence[Result]) -> str:
    """The page of any number of result files, with a section for whatever they hold."""
    of = {kind: [result for result in results if result.kind == kind] for kind in ("latency", "end_to_end", "people")}
    with_stages = [result for result in of["latency"] if result.data.get("stages")]
    agreements = [result for result in results if result.kind == "agreement"]
    both = report_people.accuracy(of["latency"], of["people"])
    parts = [
        _section("latency", "Latency", of["latency"], sections.latency),
        _wrapped("accuracy", "Accuracy against speed", both) if both else "",
        _section("people", "Agreement with people", of["people"], report_people.people),
        _section("agreement", "Reduced precision against FP32", agreements, sections.agreement),
        _section("stages", "Stages", with_stages, sections.stages),
        _section("end-to-end", "End to end", of["end_to_end"], sections.end_to_end),
        _section("start", "Start and memory", of["latency"], sections.cold_start),
        _section("figures", "All latencies", of["latency"], sections.figures_table),
        _left_out(results),
        _wrapped("environment", "Environment", _environments(results)),
    ]
    machines = list(dict.fromkeys(_machine(result) for result in results if "environment" in result.data))
    dates = sorted({str(r.data["environment"].get("date")) for r in results if "environment" in r.data} - {"None"})
    known = {
        "title": safe(" and ".join(machines[:2]) if 0 < len(machines) < 3 else "Benchmarks"),
        "meta": safe(" to ".join(dict.fromkeys((*dates[:1], *dates[-1:])))),
        "figures": _header(of, agreements),
        "sections": "\n".join(filter(None, parts)),
        "files": safe(", ".join(result.name for result in results)),
    }
    template, style = ((HERE / name).read_text(encoding="utf-8") for name in ("report_page.html", "report_page.css"))
    return fill(template, known, style)


def _machine(result: Result) -> str:
    found = result.data.get("environment", {})
    if result.data.get("configuration", {}).get("device") == "cuda" and found.get("gpu"):
        return str(found["gpu"])
    cores = found.get("allowed_cores") or found.get("cores")
    text = f", {cores} core{'' if cores == 1 else 's'}" if cores else ""
    return f"{found.get('cpu') or found.get('machine') or result.name}{text}"


def _wrapped(name: str, title: str, body: str) -> str:
    head = f'<div class="head"><h2 id="{name}-title">{title}</h2></div>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{head}{body}</section>'


def _section(name: str, title: str, results: Sequence[Result], make: Callable[[Result], str]) -> str:
    """One part for each file; of several, each says what it was measured on. "" where there is no file."""
    if not results:
        return ""
    several = len(results) > 1
    heads = [f'<h3 class="machine">{safe(f"{_machine(r)} ({r.name})")}</h3>' if several else "" for r in results]
    return _wrapped(name, title, "".join(head + make(r) for head, r in zip(heads, results, strict=True)))


def _header(of: dict[str, list[Result]], agreements: Sequence[Result]) -> str:
    """The most telling figures; of kinds that have one file, for of several no single one is right."""
    values = {}
    if len(of["latency"]) == 1:
        own = [c for c in of["latency"][0].data["contenders"] if c["family"] == "lifeiqa"]
        times = [(b["median_s"], c) for c in own for b in c["batches"] if b["batch"] == 1]
        if times:
            seconds, best = min(times, key=lambda pair: pair[0])
            values[f"ms a crop, {sections.label(best)[0]}"] = short(1000 * seconds)
    if len(of["end_to_end"]) == 1:
        data = of["end_to_end"][0].data
        values[f"pictures a second, {data['folder']['picture']}"] = short(data["folder"]["pictures_per_s"])
        if data.get("stream"):
            values[f"frames a second, {data['stream']['frame']}"] = short(data["stream"]["frames_per_s"])
    if len(agreements) == 1 and agreements[0].data.get("srocc") is not None:
        precision = (agreements[0].data["artifact"].get("precision") or "artifact").upper()
        values[f"SROCC, {precision} with FP32"] = f"{agreements[0].data['srocc']:.4f}"
    return f'<dl class="figures">{figures(values)}</dl>' if values else ""


def _left_out(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        for entry in result.data.get("left_out") or []:
            name, why = (entry["name"], entry["why"]) if isinstance(entry, dict) else entry.partition(" ")[::2]
            rows.append([name, why, result.name])
    if not rows:
        return ""
    cells = "".join(
        f'<tr><th scope="row">{safe(name)}</th><td>{safe(why)} <small class="meta">{safe(file)}</small></td></tr>'
        for name, why, file in rows
    )
    return _wrapped("left-out", "Left out", sections.card(f'<table class="shares facts">{cells}</table>'))


def _environments(results: Sequence[Result]) -> str:
    """A card for each environment with the files that come from it, and how each of them was measured."""
    groups = dict[str, tuple[dict[str, Any], list[Result]]]()
    for result in results:
        facts = dict(result.data["environment"])
        groups.setdefault(json.dumps({**facts, "date": ""}, sort_keys=True), (facts, []))[1].append(result)
    cards = []
    for facts, files in groups.values():
        versions = facts.pop("versions", None) or {}
        rows = {_words(name): _text(name, value) for name, value in facts.items() if value not in (None, [])}
        rows["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
        for file in files:
            how = file.data.get("configuration") or {}
            rows[file.name] = "; ".join(f"{_words(k)} {_text(k, v)}" for k, v in how.items() if v is not None)
        cells = "".join(f'<tr><th scope="row">{safe(k)}</th><td>{safe(v)}</td></tr>' for k, v in rows.items() if v)
        cards.append(sections.card(f'<table class="shares facts">{cells}</table>'))
    return f'<div class="cards even">{"".join(cards)}</div>'


def _words(name: str) -> str:
    return name.upper() if name in ("cpu", "gpu") else name.removesuffix("_bytes").replace("_", " ")


def _text(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB"
    if isinstance(value, list):
        return ", ".join(_text("", item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text('', item)}" for key, item in value.items())
    text = str(value)
    return f"{text[:12]}…" if _DIGEST.fullmatch(text) else text


@app.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Result files, in JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")],
) -> None:
    """Make one HTML page of result files."""
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {output} is not an HTML file; name one, such as report.html.")
    atomic_write(output, make_page(read_results(files)).encode())
    say(f"wrote {output}")


if __name__ == "__main__":
    run_app(app)
