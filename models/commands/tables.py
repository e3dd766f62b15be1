"""`lifeiqa-tables`: runs an experiment of the paper and prints it beside the paper's numbers."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifeiqa.models.commands.options import DATA_HELP, BackboneWeights, OutputFormat, open_data, render
from lifeiqa.models.commands.train import RECIPE_HELP, Precision
from lifeiqa.runtime.console import long_progress, new_app, require, run_app, say
from lifeiqa.runtime.errors import UsageError

if TYPE_CHECKING:
    from lifeiqa.models.paper.table_runs import Line

app = new_app()


@app.command()
def tables(
    name: Annotated[
        str,
        typer.Argument(
            help="table1 to table6, figure2, figure6 or figure8; list says what each is, and what it needs."
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help=f"{DATA_HELP} Once for each set you have; others stay empty."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the runs; what is in it already is not run again.")
    ] = Path("runs"),
    splits: Annotated[int, typer.Option(min=1, help="Random splits; the median is reported.")] = 10,
    recipe: Annotated[str, typer.Option(help=RECIPE_HELP, metavar="NAME|FILE.toml")] = "paper",
    reading: Annotated[str, typer.Option(help="paper, or released (the authors' implementation).")] = "paper",
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="timm model instead of the paper's; several for figures 2 and 6.", show_default=False),
    ] = None,
    backbone_weights: BackboneWeights = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start backbones from random weights.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, show_default="recipe's")] = None,
    batch: Annotated[int | None, typer.Option(min=1, show_default="recipe's")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    precision: Annotated[Precision, typer.Option(help="Mixed precision of the steps.")] = Precision.no,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 1,
    compiled: Annotated[bool, typer.Option("--compile", help="See lifeiqa-train.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the checkpoints (380 MB each for Swin-B), which table2 does anyway.")
    ] = False,
    fmt: Annotated[OutputFormat, typer.Option("--format", "-f", help="Of what is printed.")] = OutputFormat.table,
) -> None:
    """Run one of the paper's experiments: train and measure all its networks, then print ours beside the paper's.

    A stopped table goes on where it was when the same command is given again.
    """
    require("train", "torch", "timm", "scipy", "accelerate", "tensorboard", "sklearn")
    from lifeiqa.models.evaluation.assess import MIN_TYPE
    from lifeiqa.models.paper.table_runs import Settings, run_table
    from lifeiqa.models.paper.tables import TABLES
    from lifeiqa.models.training.trainer import ComputeOptions

    if name == "list":
        rows = [[key, table.title, ", ".join((*table.sets, *table.cross))] for key, table in TABLES.items()]
        listing = {key: {"title": title, "data": sets.split(", ")} for key, title, sets in rows}
        typer.echo(render(["name", "title", "data"], rows, fmt, listing))
        return
    sets = {}
    for argument in data or []:
        quality_set = open_data(argument)
        title = quality_set.info.title
        if quality_set.info.name in sets:
            raise UsageError(f"{title} is named twice with --data.")
        if name in TABLES and quality_set.info.name not in (*TABLES[name].sets, *TABLES[name].cross):
            what = "the paper has no figures of it" if TABLES[name].takes_others else "it is left out"
            say(f"note: {title} is not part of {TABLES[name].title}; {what}.")
        sets[quality_set.info.name] = quality_set
    changes = {key: value for key, value in (("epochs", epochs), ("batch", batch)) if value is not None}
    settings = Settings(
        splits,
        recipe,
        changes,
        reading,
        tuple(backbone or ()),
        backbone_weights,
        not scratch,
        seed,
        ComputeOptions(precision.value, workers, compiled),
        keep,
    )
    with long_progress(name) as progress:
        lines = run_table(name, sets, output / name, settings, progress)
    keys = [key for key in sets if any(key in line.ours for line in lines)]
    if TABLES[name].by_type and len(lines) == 1:
        say(f"note: no distortion type has {MIN_TYPE} pictures in a test part.")
    facts = {
        "backbones": backbone,
        "recipe": recipe,
        "changes": changes,
        "reading": reading,
        "splits": splits,
        "seed": seed,
        "pictures": {key: len(sets[key].items) for key in keys},
        "versions": {package: version(package) for package in ("lifeiqa", "torch", "timm")},
    }
    typer.echo(_render(TABLES[name].title, lines, keys, fmt, facts))


def _render(title: str, lines: list[Line], keys: list[str], fmt: OutputFormat, facts: dict[str, Any]) -> str:
    with_parameters = any(line.parameters for line in lines)
    columns = ["SROCC, PLCC", *(["parameters"] if with_parameters else []), *keys]
    rows: list[list[str]] = []
    for line in lines:
        count = f"{line.parameters / 1e6:.1f} M" if line.parameters else ""
        cells = [line.label, *([count] if with_parameters else [])]
        rows.append([*cells, *(_pair(line.ours[k].srocc, line.ours[k].plcc) if k in line.ours else "" for k in keys)])
        if line.paper or line.paper_parameters_m:
            printed = [f"{line.paper_parameters_m} M" if line.paper_parameters_m else ""] if with_parameters else []
            rows.append(["  paper", *printed, *(_pair(*line.paper[k]) if k in line.paper else "" for k in keys)])
    content: list[dict[str, Any]] = [
        {**asdict(line), "ours": {k: c.to_plain() for k, c in line.ours.items()}} for line in lines
    ]
    text = render(columns, rows, fmt, {"title": title, "settings": facts, "rows": content})
    return text if fmt is OutputFormat.json else f"{title}\n\n{text}"


def _pair(srocc: float, plcc: float) -> str:
    return ", ".join(f"{value:.3f}" if value == value else "n/a" for value in (srocc, plcc))


def main() -> None:
    """Entry point of `lifeiqa-tables`."""
    run_app(app)
