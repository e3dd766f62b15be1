"""`lifeiqa-doctor`: says what this machine has, what of it works, and what auto takes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.errors import MissingError

app = new_app()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Look at this machine: versions, processor, limits, engines, OpenCV, and a self-test of the packaged model.

    Exit codes: 0 all that is installed works, 3 something that is installed does not, or nothing can be scored.
    """
    from lifeiqa.runtime.doctor.examine import examine

    report = examine()
    if as_json:
        typer.echo(report.to_json())
    else:
        Console(soft_wrap=True, highlight=False).print(report.to_text())
    if report.broken:
        raise typer.Exit(MissingError.exit_code)


def main() -> None:
    """Entry point of `lifeiqa-doctor`."""
    run_app(app)
