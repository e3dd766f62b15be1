"""The figures of latency.py as tables for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from picture_stages import STAGES
from rich.console import Console
from rich.table import Table

PYTORCH = "PyTorch eager"  # what the others are compared with


def show(report: Mapping[str, Any]) -> None:
    """Prints what the file of figures says: batches, cold starts, stages of a picture, the processor."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    contenders, configuration = report["contenders"], report["configuration"]
    what = f"{configuration['threads']} threads, {configuration['rounds']} interleaved rounds"
    batches = _table(
        f"Speed on {configuration['device']}, {what}",
        *("contender", "batch", "median ms", "p5", "p95", "p99", "crops/s", "times PyTorch"),
    )
    base = {row["batch"]: row["median_s"] for one in contenders if one["name"] == PYTORCH for row in one["batches"]}
    for size in configuration["batches"]:
        for one in contenders:
            row = next(row for row in one["batches"] if row["batch"] == size)
            times = [f"{1000 * row[key]:.1f}" for key in ("median_s", "p5_s", "p95_s", "p99_s")]
            gain = f"{base[size] / row['median_s']:.2f}" if size in base else ""
            batches.add_row(one["name"], str(size), *times, f"{row['crops_per_s']:.1f}", gain)
        batches.add_section()
    console.print(batches)
    if count := configuration["compared_crops"]:
        console.print(_agreement(contenders, count))
    if configuration["starts"]:
        console.print(_cold_starts(contenders, configuration["starts"]))
    if stages := report["stages"]:
        parts = ", ".join(f"{stage.removesuffix('_s')} {1000 * stages[stage]:.1f}" for stage in STAGES)
        console.print(f"One {stages['picture']} with the packaged model, ms: {parts}", highlight=False)
    if configuration["device"] == "cpu":
        environment = report["environment"]
        features = ", ".join(environment["features"]) or "none that is known"
        cores = f"{environment['allowed_cores']} of {environment['cores']} cores"
        console.print(f"{environment['cpu']}, {cores}; instructions: {features}", highlight=False)


def _agreement(contenders: Sequence[Mapping[str, Any]], count: int) -> Table:
    table = _table(f"Scores against PyTorch, {count} crops, points of 100", "contender", "worst crop", "rms")
    for one in contenders:
        if one["worst_crop"] is not None:
            table.add_row(one["name"], *(f"{one[key]:.2g}" for key in ("worst_crop", "rms_crop")))
    return table


def _cold_starts(contenders: Sequence[Mapping[str, Any]], starts: int) -> Table:
    title = f"Cold start, medians of {starts} fresh processes"
    table = _table(title, "contender", "import s", "load s", "first crop s", "peak memory MB", "file MB")
    for one in contenders:
        times = [_figure(one[key], 1, "{:.2f}") for key in ("import_s", "load_s", "first_s")]
        sizes = [_figure(one["memory_bytes"], 1e6, "{:.0f}"), _figure(one["size_bytes"], 1e6, "{:.1f}")]
        table.add_row(one["name"], *times, *sizes)
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    return table


def _figure(value: float | None, unit: float, form: str) -> str:
    return "" if value is None else form.format(value / unit)
