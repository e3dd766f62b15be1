"""`lifeiqa-synth`: makes a labelled set out of photographs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lifeiqa.runtime.console import new_app, progress_bar, require, run_app

app = new_app()


@app.command()
def synth(
    photos: Annotated[Path, typer.Option(help="Folder that the listed paths are relative to.")],
    listed: Annotated[Path, typer.Option("--list", help="CSV with the columns path,split (train or test).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the set.")],
    scale: Annotated[
        list[int] | None,
        typer.Option(min=384, help="Shorter sides to reduce each photograph to: 480, 768, 1080.", show_default=False),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, max=6, help="References cut from a photograph at each scale.")] = 2,
    types: Annotated[int, typer.Option(min=1, max=25, help="Distortion types for each training reference.")] = 12,
    further: Annotated[
        int, typer.Option(min=0, help="Further references of a large training photograph, at random scales and places.")
    ] = 0,
    further_types: Annotated[int, typer.Option(min=1, max=25, help="Distortion types for each of these.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="The only source of randomness.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
) -> None:
    """Make a labelled training set: distort photographs, label with full-reference metrics.

    Labels are pseudo-MOS, not human opinion. An interrupted run goes on where it stopped.
    """
    require("train", "torch", "piq", "scipy")
    from lifeiqa.models.synthesis.synthetic import SyntheticPlan, read_photograph_list, synthesize

    with progress_bar("references") as update:
        labels = synthesize(
            photos,
            read_photograph_list(listed),
            output,
            SyntheticPlan(tuple(scale or SyntheticPlan.scales), windows, types, further, further_types, seed),
            jobs=jobs,
            progress=lambda done, total: update(done, total, ""),
        )
    typer.echo(labels)


def main() -> None:
    """Entry point of `lifeiqa-synth`."""
    run_app(app)
