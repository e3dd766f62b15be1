"""Compares two files of figures of latency.py: is the second faster or slower, by more than the noise?

python benchmarks/compare.py before.latency.json after.latency.json
python benchmarks/compare.py before.latency.json after.latency.json --limit 1.1     exits 4 where lifeiqa is slower
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from lifeiqa.runtime.console import new_app, run_app, say
from lifeiqa.runtime.errors import LifeIQAError, UsageError

app = new_app()
KIND, FORMAT = "latency", 1
# Another processor, GPU or version of an engine explains a difference by itself.
DECISIVE = ("cpu", "gpu", "driver")
ENGINES = ("onnxruntime", "openvino", "torch", "nncf", "tensorrt", "pyiqa", "opencv")
TOLD = ("features", "cores", "allowed_cores", "memory_bytes", "machine", "system", "python")


class SlowerError(LifeIQAError):
    """An exported model that takes longer than before, by more than the limit and the noise."""

    exit_code = 4


@dataclass(frozen=True)
class Difference:
    """One contender with one batch size in both files; seconds of a batch.

    Attributes:
        name, family: of the contender.
        batch: crops.
        before, after: p5, median, p95.
    """

    name: str
    family: str
    batch: int
    before: tuple[float, float, float]
    after: tuple[float, float, float]

    @property
    def ratio(self) -> float:
        """Of the medians, after to before: above 1 is slower."""
        return self.after[1] / self.before[1]

    @property
    def verdict(self) -> str:
        """ "slower" or "faster" where the ranges from p5 to p95 do not overlap, else "within the noise"."""
        if self.after[0] > self.before[2]:
            return "slower"
        return "faster" if self.after[2] < self.before[0] else "within the noise"


def read(path: Path) -> dict[str, Any]:
    """Reads a file of figures.

    Raises:
        UsageError: it cannot be read, or is of another kind or format.
    """
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read as a file of figures ({error}). Make one: latency.py --json"
        ) from error
    found = (report.get("kind"), report.get("format")) if isinstance(report, dict) else (None, None)
    if found != (KIND, FORMAT):
        raise UsageError(
            f"{path} is of kind {found[0]} and format {found[1]}, not {KIND} and {FORMAT}. Compare files that this "
            "version of latency.py wrote with --json."
        )
    try:
        differences(report, report)
        require_comparable(report, report, anyway=False)
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not whole ({error!r}); measure again: latency.py --json") from error
    return dict(report)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, ...] | None = None) -> list[str]:
    names = tuple(sorted(before.keys() | after.keys())) if names is None else names
    return [
        f"{name}: {before.get(name)} and {after.get(name)}" for name in names if before.get(name) != after.get(name)
    ]


def require_comparable(before: Mapping[str, Any], after: Mapping[str, Any], anyway: bool) -> list[str]:
    """What of the environment differs, for people.

    Args:
        before, after: two files of figures.
        anyway: whether another processor, GPU or engine is only told, and no error.

    Raises:
        UsageError: they were measured with other settings, or on another processor, GPU or engine.
    """
    if changes := _changes(before["configuration"], after["configuration"]):
        raise UsageError(f"Measured with other settings: {'; '.join(changes)}. Measure both with the same.")
    old, new = before["environment"], after["environment"]
    packages = old["versions"].keys() | new["versions"].keys()
    engines = tuple(name for name in ENGINES if name in old["versions"] and name in new["versions"])
    decisive = [*_changes(old, new, DECISIVE), *_changes(old["versions"], new["versions"], engines)]
    if decisive and not anyway:
        raise UsageError(
            f"Measured on another machine or with another engine: {'; '.join(decisive)}. Measure both on the same, or "
            "compare with --anyway."
        )
    others = tuple(sorted(packages - set(engines)))
    return [*decisive, *_changes(old, new, TOLD), *_changes(old["versions"], new["versions"], others)]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Difference], list[str]]:
    """Each contender and batch of both files, and the names of contenders that only one of them has."""
    old, new = ({one["name"]: one for one in report["contenders"]} for report in (before, after))
    found = []
    for name in (name for name in old if name in new):
        rows = [
            {row["batch"]: (row["p5_s"], row["median_s"], row["p95_s"]) for row in side[name]["batches"]}
            for side in (old, new)
        ]
        found += [Difference(name, old[name]["family"], size, rows[0][size], rows[1][size]) for size in rows[0]]
    return found, [name for name in (*old, *new) if (name in old) != (name in new)]


def require_fast_enough(
    found: list[Difference], before: Mapping[str, Any], after: Mapping[str, Any], limit: float
) -> None:
    """Holds the exported models against a limit on `Difference.ratio`.

    Raises:
        SlowerError: one is slower than that, and by more than the noise.
        UsageError: one that was measured before was not measured again.
    """
    names = {one["name"] for one in after["contenders"]}
    ours = [one["name"] for one in before["contenders"] if one["family"] == "lifeiqa"]
    if missing := [name for name in ours if name not in names]:
        raise UsageError(f"There is nothing to hold the limit against: the second file has no {', '.join(missing)}.")
    slower = [
        f"{one.name}, batch {one.batch}: {one.ratio:.2f} times"
        for one in found
        if one.family == "lifeiqa" and one.verdict == "slower" and one.ratio > limit
    ]
    if slower:
        raise SlowerError(f"Slower than {limit:g} times before: {'; '.join(slower)}")


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="BEFORE", help="A file of latency.py --json.")],
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="Another, which is compared with it.")],
    limit: Annotated[
        float | None, typer.Option(min=1.0, help="Exit 4 where an exported model takes this many times as long.")
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also compare other processors and engines.")] = False,
) -> None:
    """Compare two measurements of speed: ratios of medians, and which differences exceed the noise."""
    old, new = read(before), read(after)
    for change in require_comparable(old, new, anyway):
        say(f"differs: {change}")
    found, single = differences(old, new)
    for name in single:
        say(f"only in one of them: {name}")
    if not found:
        raise UsageError(f"{before} and {after} have no contender in common.")
    show(found, before.name, after.name)
    if limit is not None:
        require_fast_enough(found, old, new, limit)


def show(found: list[Difference], before: str, after: str) -> None:
    """Prints a line for each contender and batch."""
    table = Table(title=f"ms a batch, median (p5 to p95): {before} and {after}")
    for heading in ("contender", "batch", "before", "after", "ratio", ""):
        text = heading in ("contender", "")
        table.add_column(heading, justify="left" if text else "right", overflow="fold")
    for one in found:
        ranges = [f"{1000 * m:.1f} ({1000 * lo:.1f} to {1000 * hi:.1f})" for lo, m, hi in (one.before, one.after)]
        table.add_row(one.name, str(one.batch), *ranges, f"{one.ratio:.2f}", one.verdict)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    run_app(app)
