"""How well scores agree with people: the model inside the package, your own, and classical scores on the same pictures.

python benchmarks/people.py --data livec=ChallengeDB_release --data biq2021=BIQ2021
python benchmarks/people.py --data biq2021=BIQ2021 --model best.pt --json people.json --figure people.svg --published

BRISQUE and NIQE take part where their packages are installed (pip install brisque iqa-torch); see classical.py.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from classical import PACKAGES, open_classical, version_of
from environment import environment
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lifeiqa.models.commands.options import DATA_HELP, open_data
from lifeiqa.models.datasets import Labelled, QualitySet, halves_sha256, prescribes_split, to_measure
from lifeiqa.models.datasets.base import PRISTINE, reading
from lifeiqa.models.evaluation.assess import MIN_CONTENTS, MIN_TYPE, OpenModel, open_model
from lifeiqa.models.evaluation.evaluation import Correlations, Vector, correlate, intervals
from lifeiqa.models.paper.figures import COLORS, STYLE, WIDTH, check_output, save
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.console import long_progress, new_app, run_app, say
from lifeiqa.runtime.errors import MissingError, UsageError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.limits import usable_cores
from lifeiqa.runtime.zoo import default_model

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PUBLISHED = Path(__file__).with_name("published.toml")
app = new_app()


@dataclass(frozen=True)
class Contender:
    """What is compared with people.

    Attributes:
        name: in the table.
        score: from (H, W, 3) uint8 RGB to a score, higher better, on whatever scale.
        facts: for the JSON file: the model's sha256, or the package and its version.
    """

    name: str
    score: Callable[[UInt8Array], float]
    facts: dict[str, str]


@dataclass(frozen=True)
class Row:
    """What one contender reached on one set or subset.

    Attributes:
        contender: its name.
        subset: its name; "" for the whole set.
        overall: of scores and labels.
        confidence: 95 % intervals of SROCC and PLCC; {} where there are too few contents for them.
        ms: median milliseconds a picture, without reading the file; of the whole set.
    """

    contender: str
    subset: str
    overall: Correlations
    confidence: dict[str, tuple[float, float]]
    ms: float

    def to_plain(self) -> dict[str, Any]:
        """For the JSON file."""
        shown = {f"{name}_interval": list(ends) for name, ends in self.confidence.items()}
        return {
            "contender": self.contender,
            "subset": self.subset,
            **self.overall.to_plain(),
            **shown,
            "ms": round(self.ms, 2),
        }


@dataclass(frozen=True)
class Measured:
    """One set, measured.

    Attributes:
        data: the set.
        items: the P pictures that every contender gave a number for.
        half: "test" where the set prescribes a test part; "part" where pictures of the published set are missing;
            otherwise "all".
        left_out: file names of the pictures that some contender gave no number for.
        scores: (P,) of each contender.
        rows: the whole set first, then its subsets; in each, the best SROCC first.
    """

    data: QualitySet
    items: list[Labelled]
    half: str
    left_out: list[str]
    scores: dict[str, Vector]
    rows: list[Row]


def open_contenders(
    models: Sequence[Path], stack: ExitStack
) -> tuple[list[Contender], dict[str, OpenModel], list[str]]:
    """Opens the packaged model, further ones, and the classical scores; everything on the CPU.

    Returns:
        The contenders, those of them that are models, and the reasons of those that are left out.

    Raises:
        UsageError, CheckpointError, ManifestError: a model cannot be used.
    """
    contenders: list[Contender] = []
    opened: dict[str, OpenModel] = {}
    left_out = []
    for path in (default_model(), *models):
        model = stack.enter_context(open_model(path, device="cpu"))
        name = path.name if path.name not in opened else str(path.resolve())
        if name in opened:
            raise UsageError(f"--model {path} is given twice.")
        opened[name] = model
        contenders.append(Contender(name, model, {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    for name in PACKAGES:
        try:
            contenders.append(Contender(name, open_classical(name), {"package": version_of(name)}))
        except MissingError as error:
            left_out.append(str(error))
    return contenders, opened, left_out


def score_pictures(
    contenders: Sequence[Contender], items: Sequence[Labelled], progress: Callable[[int, int], None]
) -> tuple[dict[str, Vector], dict[str, float]]:
    """Reads each picture once and has every contender score it.

    Returns:
        Scores (P,) of each contender, NaN where it gives no number, and its median milliseconds a picture.

    Raises:
        DatasetError: a picture cannot be read, or a model cannot score it.
    """
    scores = {contender.name: np.full(len(items), np.nan) for contender in contenders}
    seconds = {contender.name: np.zeros(len(items)) for contender in contenders}
    for k, item in enumerate(items):
        with reading(item.path):
            pixels = read_image(item.path).pixels
            for contender in contenders:
                began = time.perf_counter()
                scores[contender.name][k] = contender.score(pixels)
                seconds[contender.name][k] = time.perf_counter() - began
        progress(k + 1, len(items))
    return scores, {name: 1000 * float(np.median(values)) for name, values in seconds.items()}


def measure(
    contenders: Sequence[Contender], data: QualitySet, progress: Callable[[int, int], None] = lambda done, total: None
) -> Measured:
    """Measures every contender on the test part that a set prescribes, or else on all of it, and on its subsets.

    Subsets are those that a set of photographs names, with at least `MIN_TYPE` pictures. All figures are of the same
    pictures: one that any contender gives no number for is left out for all.

    Raises:
        DatasetError: a picture cannot be read or scored, or the set has no test picture.
        UsageError: there are fewer than two pictures.
    """
    items = to_measure(data)
    scores, ms = score_pictures(contenders, items, progress)
    known = np.all([np.isfinite(values) for values in scores.values()], axis=0)
    left_out = [item.path.name for item, good in zip(items, known, strict=True) if not good]
    half = "test" if len(items) < len(data.items) else "part" if data.pictures < data.info.pictures else "all"
    items = [item for item, good in zip(items, known, strict=True) if good]
    if len(items) < 2:
        raise UsageError(f"{data.info.title} has {len(items)} pictures to score; a correlation needs two at the least.")
    scores = {name: values[known] for name, values in scores.items()}
    labels = np.array([item.score for item in items])
    contents = [item.reference for item in items]
    parts = {"": np.arange(len(items))}
    if data.info.kind == "authentic":
        for name in sorted({item.distortion for item in items} - {"", PRISTINE}):
            rows = np.flatnonzero([item.distortion == name for item in items])
            if MIN_TYPE <= len(rows) < len(items):
                parts[name] = rows
    found = []
    for subset, chosen in parts.items():
        group = [
            Row(name, subset, *_agreement(values[chosen], labels[chosen], [contents[k] for k in chosen]), ms[name])
            for name, values in scores.items()
        ]
        found += sorted(group, key=lambda row: np.nan_to_num(-row.overall.srocc, nan=2.0))
    return Measured(data, items, half, left_out, scores, found)


def _agreement(
    scores: Vector, labels: Vector, contents: Sequence[str]
) -> tuple[Correlations, dict[str, tuple[float, float]]]:
    spread = len(set(contents)) >= MIN_CONTENTS and np.ptp(scores) > 0 and np.ptp(labels) > 0
    return correlate(scores, labels), intervals(scores, labels, contents) if spread else {}


def published_for(data: QualitySet) -> list[tuple[str, float, str, str]]:
    """Published figures on a set: method, SROCC, what it was trained on, source."""
    sources = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))["source"]
    return [
        (method, float(srocc), source["trained"], source["where"])
        for source in sources
        if source["data"] == data.info.name
        for method, srocc in source["srocc"].items()
    ]


def draw(sets: Sequence[Measured], with_published: bool) -> Figure:
    """SROCC of every contender as a bar with its 95 % interval, a panel for each set; published ones are hollow."""
    bars = []
    for measured in sets:
        own = [
            (row.contender, row.overall.srocc, row.confidence.get("srocc")) for row in measured.rows if not row.subset
        ]
        others = [
            (f"{method}, trained {trained}", srocc, None) for method, srocc, trained, _ in published_for(measured.data)
        ]
        every = [*own, *(others if with_published else [])]
        bars.append((len(own), every))
    count = sum(len(every) for _, every in bars)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.24 * count + 0.75 * len(sets)), layout="constrained")
        panels = figure.subplots(
            len(sets), 1, sharex=True, squeeze=False, height_ratios=[len(every) + 1 for _, every in bars]
        )
        for axes, measured, (own_count, every) in zip(panels.flat, sets, bars, strict=True):
            order = sorted(range(len(every)), key=lambda k: np.nan_to_num(every[k][1], nan=-2.0))
            for place, k in enumerate(order):
                _, srocc, interval = every[k]
                hollow = k >= own_count
                axes.barh(
                    place,
                    srocc,
                    height=0.68,
                    color="white" if hollow else COLORS[0],
                    edgecolor=COLORS[0],
                    linewidth=0.8,
                )
                if interval:
                    axes.hlines(place, *interval, color="black", linewidth=1)
                end = max(srocc, interval[1] if interval else srocc, 0.0) if np.isfinite(srocc) else 0.0
                axes.text(end + 0.01, place, f"{srocc:.3f}" if np.isfinite(srocc) else "n/a", va="center", fontsize=8)
            axes.set_yticks(range(len(order)), [every[k][0] for k in order], fontsize=8)
            axes.tick_params(axis="y", length=0)
            axes.set_title(f"{measured.data.info.title}, {_count_of(measured)}", loc="left")
            axes.axvline(0, color="black", linewidth=0.6)
        panels.flat[-1].set_xlabel(
            "SROCC with people's ratings; lines: 95 % intervals" + ("; hollow: published" if with_published else "")
        )
        panels.flat[-1].set_xlim(right=1.0)
    return figure


def _count_of(measured: Measured, pictures: int | None = None) -> str:
    count = len(measured.items) if pictures is None else pictures
    if measured.half == "part":
        return f"{count} of its {measured.data.info.pictures} pictures"
    return f"{count} {'test ' if measured.half == 'test' else ''}pictures"


def _show(measured: Measured, with_published: bool) -> None:
    console = Console(width=None if sys.stdout.isatty() else 132)
    published = published_for(measured.data) if with_published else []
    for subset in dict.fromkeys(row.subset for row in measured.rows):
        rows = [row for row in measured.rows if row.subset == subset]
        lines = [
            (
                row.overall.srocc,
                [
                    row.contender,
                    _figure(row.overall.srocc),
                    "{:.3f} to {:.3f}".format(*row.confidence["srocc"]) if row.confidence else "",
                    _figure(row.overall.plcc_fitted),
                    _figure(row.overall.krcc),
                    str(row.overall.pictures),
                    f"{row.ms:.1f}",
                ],
            )
            for row in rows
        ]
        if not subset:
            lines += [
                (srocc, [method, _figure(srocc), f"published, trained {trained}", "", "", "", ""])
                for method, srocc, trained, _ in published
            ]
        where = f"{measured.data.info.title}{', ' if subset else ''}{subset}"
        table = Table(title=f"{where}: {_count_of(measured, rows[0].overall.pictures)}", title_justify="left")
        for heading in ("", "SROCC", "95 % interval", "PLCC fitted", "KRCC", "pictures", "ms a picture"):
            table.add_column(heading, justify="right" if heading else "left", overflow="fold")
        for _, cells in sorted(lines, key=lambda line: np.nan_to_num(-line[0], nan=2.0)):
            table.add_row(*cells)
        console.print(table)
    for source in dict.fromkeys(source for *_, source in published):
        console.print(f"published: {source}", highlight=False, soft_wrap=True)


def _figure(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "n/a"


def report_of(
    sets: Sequence[Measured], contenders: Sequence[Contender], left_out: Sequence[str], with_published: bool
) -> dict[str, Any]:
    """All figures, for the JSON file, and what is needed to repeat them."""
    return {
        "kind": "people",
        "format": 1,
        "environment": environment(),
        "configuration": {"device": "cpu", "threads": usable_cores()},
        "contenders": [{"name": contender.name, **contender.facts} for contender in contenders],
        "left_out": list(left_out),
        "sets": [
            {
                "data": measured.data.info.title,
                "half": measured.half,
                "pictures": len(measured.items),
                "pictures_sha256": halves_sha256((), measured.items),
                "left_out": measured.left_out,
                "results": [row.to_plain() for row in measured.rows],
                "published": [
                    {"method": method, "srocc": srocc, "trained": trained, "source": source}
                    for method, srocc, trained, source in (published_for(measured.data) if with_published else [])
                ],
            }
            for measured in sets
        ],
    }


def scores_csv(sets: Sequence[Measured]) -> str:
    """A line for each picture: set, subset, file name, label, and the score of each contender in six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(sets[0].scores)
    writer.writerow(["data", "subset", "picture", "label", *names])
    for measured in sets:
        for k, item in enumerate(measured.items):
            values = [item.score, *(measured.scores[name][k] for name in names)]
            title = measured.data.info.title
            writer.writerow([title, item.distortion, item.path.name, *(f"{value:.6g}" for value in values)])
    return text.getvalue()


def _warn(opened: dict[str, OpenModel], data: QualitySet) -> None:
    """Says which models have seen pictures that they are now measured on."""
    if prescribes_split(data):
        return
    for name, model in opened.items():
        if model.split_of(data) is not None or model.was_trained_on_like(data) or model.was_further_set(data):
            say(f"note: {name} was trained on {data.info.title}: some of these pictures are not new to it.")


def _progress(update: Callable[[int, int, str], None], title: str, done: int, total: int) -> None:
    update(done, total, title)


@app.command()
def people(
    data: Annotated[list[str], typer.Option(metavar="NAME=PATH", help=f"{DATA_HELP} May be given several times.")],
    model: Annotated[
        list[Path] | None,
        typer.Option(help="A further checkpoint or exported model. May be given several times."),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="Also show what others published.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    scores_file: Annotated[
        Path | None, typer.Option("--scores", help="CSV file for the score of each picture.")
    ] = None,
    figure_file: Annotated[Path | None, typer.Option("--figure", help="File for a figure: .png or .svg.")] = None,
) -> None:
    """Measure how well models and classical scores agree with people's ratings.

    Of a set that prescribes a test part, that part is measured; of others, all pictures.
    """
    for path in filter(None, (json_file, scores_file, figure_file)):
        require_writable(path.parent)
    if figure_file:
        check_output(figure_file)
    sets = [open_data(argument) for argument in data]
    with ExitStack() as stack:
        contenders, opened, left_out = open_contenders(model or [], stack)
        for reason in left_out:
            say(f"left out: {reason}")
        results = []
        update = stack.enter_context(long_progress("pictures"))
        for one in sets:
            _warn(opened, one)
            results.append(measure(contenders, one, partial(_progress, update, one.info.title)))
    for measured in results:
        if measured.left_out:
            say(f"note: {len(measured.left_out)} pictures of {measured.data.info.title} left out: no number for them.")
        _show(measured, published)
    if json_file:
        report = report_of(results, contenders, left_out, published)
        atomic_write(json_file, (json.dumps(report, indent=1) + "\n").encode())
    if scores_file:
        atomic_write(scores_file, scores_csv(results).encode())
    if figure_file:
        save(draw(results, published), figure_file)


if __name__ == "__main__":
    run_app(app)
