"""`lifeiqa-eval`: measures a model on data sets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifeiqa.models.commands.options import (
    CORRELATION_COLUMNS,
    DATA_HELP,
    OutputFormat,
    correlation_cells,
    open_data,
    render,
)
from lifeiqa.runtime.console import new_app, progress_bar, require, run_app, say
from lifeiqa.runtime.errors import UsageError

if TYPE_CHECKING:
    from lifeiqa.models.datasets import QualitySet
    from lifeiqa.models.evaluation.assess import Assessment

app = new_app()


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="A checkpoint, an ONNX file, or an engine.")],
    data: Annotated[list[str], typer.Option(metavar="NAME=PATH", help=f"{DATA_HELP} May be given several times.")],
    splits: Annotated[
        int,
        typer.Option(min=0, max=1000, help="Measure the test parts of this many random splits; report the median."),
    ] = 0,
    whole: Annotated[bool, typer.Option("--all", help="Measure all pictures, of whatever set.")] = False,
    split: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Measure the test part of this random split.",
            show_default="the model's own, of the set it was trained on",
        ),
    ] = None,
    crops: Annotated[int | None, typer.Option(min=1, help="Crops a picture.", show_default="model's")] = None,
    by_type: Annotated[bool, typer.Option("--by-type", help="Also by distortion type (Figure 8).")] = False,
    ladders: Annotated[
        bool, typer.Option("--ladders", help="Also the order of distortion levels on scikit-image's pictures.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    fmt: Annotated[OutputFormat, typer.Option("--format", "-f", help="Of what is printed.")] = OutputFormat.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write the results here, as JSON.")] = None,
) -> None:
    """Measure how well a model's scores follow the labels of data sets.

    SROCC, PLCC (raw, and after the 4-parameter logistic fit), KRCC and RMSE; 95 % intervals by bootstrap over contents.
    Of a set that prescribes a test part, and of the one that the model was trained on, the test part is measured; of
    others, all pictures. Several --data are the cross-dataset test of Table II.
    """
    require("train", "torch", "timm", "scipy")
    import json

    from lifeiqa.models.datasets import prescribes_split
    from lifeiqa.models.evaluation.assess import MIN_TYPE, assess, open_model
    from lifeiqa.models.synthesis.ladders import evaluate_ladders
    from lifeiqa.runtime.files import atomic_write

    if device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device is auto, cpu or cuda, not {device}.")
    if output is not None and output.is_dir():
        raise UsageError(f"{output} is a folder; name a file in it with --output.")
    sets = [open_data(argument) for argument in data]
    with open_model(model, crops, device) as opened, progress_bar("pictures") as update:

        def measure(quality_set: QualitySet) -> Assessment:
            title, half, own = quality_set.info.title, split, opened.split_of(quality_set)
            prescribed = prescribes_split(quality_set)
            if own is not None and half is None and not (splits or whole or prescribed):
                half = own
            if own is not None and half != own and (whole or not prescribed):
                say(f"note: the model was trained on {title}, split {own}: some of these pictures are not new to it.")
            elif own is None and opened.was_trained_on_like(quality_set):
                say(f"note: the model was trained on {title} with other names or labels: some may not be new to it.")
            if opened.was_further_set(quality_set) and (whole or not prescribed):
                say(f"note: the model was also trained on {title}: these pictures are not new to it.")
            return assess(opened, quality_set, splits, whole, half, lambda done, total: update(done, total, title))

        results = [measure(quality_set) for quality_set in sets]
        order = evaluate_ladders(opened) if ladders else None
    report: dict[str, Any] = {
        "model": str(model),
        "results": [
            {
                "data": result.data,
                "pictures": result.pictures,
                "overall": result.overall.to_plain(),
                "confidence": result.confidence,
                "by_split": [c.to_plain() for c in result.by_split],
                "by_type": {name: c.to_plain() for name, c in result.by_type.items()},
            }
            for result in results
        ],
        "ladders": None if order is None else asdict(order),
    }
    if output is not None:
        atomic_write(output, json.dumps(report, indent=1).encode())
    rows = []
    for result in results:
        rows.append([f"{result.data} ({result.pictures})", *correlation_cells(result.overall)])
        if result.confidence:
            low_high = [f"{low:.3f}-{high:.3f}" for low, high in result.confidence.values()]
            rows.append(["  95 % interval", *low_high, "", "", "", ""])
        if by_type:
            if not result.by_type:
                say(f"note: {result.data} has no distortion type with {MIN_TYPE} of the measured pictures.")
            rows += [[f"  {name}", *correlation_cells(c)] for name, c in result.by_type.items()]
    text = render(["", *CORRELATION_COLUMNS], rows, fmt, report)
    if order is not None and fmt is not OutputFormat.json:
        text += (
            f"\n\nladders: {100 * order.in_order:.1f} % of {order.pairs} neighbouring levels in order, "
            f"{100 * order.mildest_in_order:.1f} % of {order.mildest_pairs} pristine against mildest"
        )
    typer.echo(text)


def main() -> None:
    """Entry point of `lifeiqa-eval`."""
    run_app(app)
