"""`lifeiqa-train`: trains Life-IQA on a data set."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lifeiqa.models.commands.options import (
    CORRELATION_COLUMNS,
    OutputFormat,
    correlation_cells,
    is_main_process,
    open_data,
    render,
)
from lifeiqa.models.training.recipes import recipe_names
from lifeiqa.runtime.console import long_progress, new_app, require, run_app
from lifeiqa.runtime.errors import UsageError

app = new_app()


RECIPE_HELP = f"{', '.join(recipe_names())}, or a file."


class Precision(str, Enum):
    """Arithmetic of the training steps."""

    no = "no"
    bf16 = "bf16"
    fp16 = "fp16"


@app.command()
def train(
    data: Annotated[list[str], typer.Option(help="Data set or CSV file; several if mixed.", metavar="NAME=PATH")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run.")],
    recipe: Annotated[str, typer.Option(help=RECIPE_HELP, metavar="NAME|FILE.toml")] = "paper",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one of its settings."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Short for --set epochs=N.", show_default=False)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Short for --set batch=N.", show_default=False)
    ] = None,
    lr: Annotated[
        float | None, typer.Option(min=0, metavar="X", help="Short for --set lr=X.", show_default=False)
    ] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME", help="timm model.", show_default="Swin-B")] = None,
    backbone_weights: Annotated[Path | None, typer.Option(help="File of its weights.", show_default="timm's")] = None,
    start: Annotated[Path | None, typer.Option(help="Checkpoint to start from.", show_default=False)] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    split: Annotated[int, typer.Option(min=0, metavar="N", help="Which random 80/20 split.")] = 0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of all other choices.")] = 0,
    precision: Annotated[Precision, typer.Option(help="Mixed precision.")] = Precision.no,
    workers: Annotated[int, typer.Option(min=0, metavar="N", help="Readers of pictures.")] = 1,
    compiled: Annotated[bool, typer.Option("--compile", help="Fuse the backbone; needs a C++ compiler.")] = False,
) -> None:
    """Train Life-IQA on a data set, and measure it on the part it has not seen.

    The folder gets best.pt, the checkpoint; report.json; run.json, all settings; and log/ for TensorBoard. A run that
    was stopped goes on with --resume to the same result.
    """
    require("train", "torch", "timm", "scipy", "accelerate", "tensorboard")
    from lifeiqa.models.checkpoints.reader import load_checkpoint
    from lifeiqa.models.training.recipe_files import parse_settings, read_recipe
    from lifeiqa.models.training.run_folder import TrainRequest
    from lifeiqa.models.training.trainer import ComputeOptions
    from lifeiqa.models.training.training import train

    changes = parse_settings(settings or [])
    for key, value in {"epochs": epochs, "batch": batch, "lr": lr, "backbone": backbone}.items():
        if value is not None and key in changes:
            raise UsageError(f"{key} is set twice: with --{key} and with --set.")
        if value is not None:
            changes[key] = value
    chosen = read_recipe(recipe).changed(changes)
    if start is not None and backbone_weights is not None:
        raise UsageError("--start keeps the checkpoint's weights; leave out --backbone-weights.")
    config = chosen.network_config(None if start is None else load_checkpoint(start).config)
    quality_set, *further = [open_data(argument) for argument in data]
    request = TrainRequest(config, chosen.recipe_for(quality_set.info), split, seed, backbone_weights, start)
    compute = ComputeOptions(precision.value, workers, compiled)
    with long_progress("training") as progress:
        outcome = train(quality_set, request, output, compute, resume, progress, further)
    if not is_main_process():
        return
    measured = "held-out part" if request.recipe.held_out else "test part"
    row = [f"{quality_set.info.title}, {measured}", *correlation_cells(outcome.test)]
    typer.echo(render(["", *CORRELATION_COLUMNS], [row], OutputFormat.table, None))
    if outcome.expert_load:
        typer.echo(f"experts kept by tokens: {'  '.join(f'{share:.2f}' for share in outcome.expert_load)}")
    typer.echo(outcome.checkpoint)


def main() -> None:
    """Entry point of `lifeiqa-train`."""
    run_app(app)
