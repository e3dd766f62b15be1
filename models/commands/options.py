"""Options and output that several commands share."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from lifeiqa.runtime.console import say
from lifeiqa.runtime.errors import UsageError

if TYPE_CHECKING:
    from lifeiqa.models.datasets import QualitySet
    from lifeiqa.models.evaluation.evaluation import Correlations

DATA_HELP = (
    "NAME=PATH of a data set: live, csiq, tid2013, kadid10k, livec, koniq10k, spaq or biq2021 in the folder its makers "
    "publish, or csv for a file of your own with the columns path,score[,reference]."
)
BackboneWeights: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="File of ImageNet weights, or a checkpoint whose backbone is used; without it they come from timm's hub."
    ),
]


class OutputFormat(str, Enum):
    """How results are printed."""

    table = "table"
    markdown = "markdown"
    json = "json"


def open_data(argument: str) -> QualitySet:
    """Opens what a --data option names, and says where a benchmark set is not whole.

    Raises:
        UsageError, DatasetError: it cannot be opened.
    """
    from lifeiqa.models.datasets import DATASETS, open_set

    name, equals, path = argument.partition("=")
    if argument.lower().endswith(".csv") and (not equals or os.sep in name):
        name, path = "csv", argument
    if not path:
        raise UsageError(f"--data {argument} is not NAME=PATH, where NAME is one of {', '.join(DATASETS)}.")
    with contextlib.suppress(RuntimeError):  # there is no such user
        path = str(Path(path).expanduser())
    data = open_set(name, Path(path))
    if is_main_process() and data.info.pictures and data.pictures != data.info.pictures:
        say(
            f"note: {data.info.title} has {data.info.pictures} pictures, {path} lists {data.pictures}: is it all there?"
        )
    return data


def is_main_process() -> bool:
    """Whether it is this process, of several that torchrun started, that prints what all of them know."""
    return os.environ.get("RANK", "0") == "0"


def render(columns: list[str], rows: list[list[str]], fmt: OutputFormat, data: Any) -> str:
    """Rows of text as an aligned table or Markdown, or `data` as JSON. First column left, others right."""
    if fmt is OutputFormat.json:
        return json.dumps(data, indent=1)
    widths = [max(len(row[k]) for row in [columns, *rows]) for k in range(len(columns))]

    def line(cells: list[str]) -> str:
        aligned = [
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(aligned)} |" if fmt is OutputFormat.markdown else "  ".join(aligned).rstrip()

    rule = [f"|{'|'.join('-' * (w + 1) + (':' if k else '-') for k, w in enumerate(widths))}|"]
    return "\n".join([line(columns), *(rule if fmt is OutputFormat.markdown else []), *map(line, rows)])


CORRELATION_COLUMNS = ["SROCC", "PLCC", "PLCC fitted", "KRCC", "RMSE", "pictures"]


def correlation_cells(correlations: Correlations) -> list[str]:
    """One cell for each of `CORRELATION_COLUMNS`; a figure that is not defined shows as n/a."""
    values = asdict(correlations)

    def cell(value: float, digits: int) -> str:
        return f"{value:.{digits}f}" if value == value else "n/a"

    figures = [cell(values[name], 3) for name in ("srocc", "plcc", "plcc_fitted", "krcc")]
    return [*figures, cell(values["rmse"], 2), str(values["pictures"])]
