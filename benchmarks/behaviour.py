"""Do a model's scores behave as people expect? Prints a table by kind of picture; exits 4 when a limit is passed.

python benchmarks/behaviour.py                    the model inside the package
python benchmarks/behaviour.py --model best.pt    your own: a checkpoint, or an exported model
python benchmarks/behaviour.py --short            two pictures of each kind, in less than half a minute

The limits: benchmarks/behaviour_limits.py. The order of H.264 levels needs ffmpeg.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from behaviour_pictures import contents
from expectations import H264, LADDERS, Row, by_distortion, first_of_each_kind, measure
from rich import box
from rich.console import Console
from rich.table import Table

import lifeiqa
from lifeiqa.models.evaluation.assess import open_model
from lifeiqa.runtime.console import new_app, progress_bar, run_app
from lifeiqa.runtime.errors import BehaviourError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.scorer import default_model

app = new_app()
SHORT = 2  # pictures of each kind
MIN_PAIRS = 20  # of neighbouring levels, for their share to mean something
BOUNDS = {"at least": ">=", "at most": "<=", "within": "within"}
VERDICTS = {"ok": "ok", "failed": "[bold red]FAILED[/]", "left out": "[yellow]left out[/]"}


@app.command()
def behaviour(
    model: Annotated[
        Path | None, typer.Option(help="Checkpoint or exported model; none: the one inside the package.")
    ] = None,
    short: Annotated[bool, typer.Option("--short", help=f"Only {SHORT} pictures of each kind.")] = False,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda or auto.")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
) -> None:
    """Check a model's scores on pictures that nobody trained on."""
    path = default_model() if model is None else model
    with open_model(path, device=device) as score:
        pictures = contents()
        if short:
            pictures = first_of_each_kind(pictures, SHORT)
        with progress_bar("pictures") as update:
            rows = measure(score, pictures, points=not score.scale.own, progress=update)
    if short:
        rows = [_without_few_pairs(row) for row in rows]
    failed = [row for row in rows if row.verdict == "failed"]
    console = Console(width=None if sys.stdout.isatty() else 80)
    console.print(_orders(rows))
    console.print(_table(rows, f"{path.name} on {len(pictures)} pictures"))
    for why, count in Counter(row.left_out for row in rows if row.left_out).items():
        console.print(f"left out: {count} check{'s' if count > 1 else ''}, because: {why}")
    if json_file:
        report = {
            "model": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "lifeiqa": lifeiqa.__version__,
            "machine": platform.machine(),
            "short": short,
            "pictures": len(pictures),
            "ok": not failed,
            "levels_in_order": by_distortion(rows),
            "checks": [_plain(row) for row in rows],
        }
        atomic_write(json_file, (json.dumps(report, indent=1) + "\n").encode())
    if failed:
        names = "; ".join(f"{row.kind}: {row.check.name}" for row in failed)
        raise BehaviourError(f"{len(failed)} of {len(rows)} checks fail. {names}.")


def _without_few_pairs(row: Row) -> Row:
    """The row, left out where its share would be that of a handful of pairs."""
    pairs = sum(len(one.scores) - 1 for one in row.found)
    if row.check.unit != "share" or row.left_out or pairs >= MIN_PAIRS:
        return row
    return replace(row, left_out=f"{pairs} pairs are too few for a share")


def _plain(row: Row) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "check": row.check.name,
        "unit": row.check.unit,
        "bound": row.check.bound,
        "limit": row.limit,
        "value": row.value if row.found else None,
        "verdict": row.verdict,
        "left_out": row.left_out,
        "pictures": [one._asdict() for one in row.found],
    }


def _orders(rows: list[Row]) -> Table:
    table = Table(title="neighbouring levels in order, %", box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    names = (*LADDERS, H264)
    table.add_column("kind")
    for name in names:
        table.add_column(name, justify="right")
    for kind, shares in by_distortion(rows).items():
        table.add_row(kind, *(f"{100 * shares[name]:.0f}" if name in shares else "-" for name in names))
    return table


def _table(rows: list[Row], title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("kind", "check", "measured", "limit", "worst picture", ""):
        table.add_column(heading, justify="right" if heading in ("measured", "limit") else "left", overflow="fold")
    for number, row in enumerate(rows):
        last = number + 1 == len(rows) or rows[number + 1].kind != row.kind
        unit = row.check.unit
        perfect = not row.found or (unit == "share" and row.value == 1)
        worst = "" if perfect else ", ".join(filter(None, row.worst[:2]))
        table.add_row(
            row.kind,
            row.check.name,
            _text(row.value, unit) if row.found else "-",
            _limit(row),
            worst,
            VERDICTS[row.verdict],
            end_section=last,
        )
    return table


def _limit(row: Row) -> str:
    size = f"{100 * row.limit:g} %" if row.check.unit == "share" else f"{row.limit:g}"
    return f"{BOUNDS[row.check.bound]} {size}"


def _text(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:+.1f}" if unit == "change" else f"{value:.1f}"


if __name__ == "__main__":
    run_app(app)
