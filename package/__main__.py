"""`python -m lifeiqa`: lists the commands of lifeiqa."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import distribution

import typer

from lifeiqa.runtime.console import new_app, run_app

app = new_app()


def commands() -> dict[str, str]:
    """What each installed command does, by its name: what follows the name in its module's docstring."""
    scripts = distribution("lifeiqa").entry_points.select(group="console_scripts")
    return {script.name: _purpose(script.module) for script in scripts}


def _purpose(module: str) -> str:
    doc = import_module(module).__doc__ or ""  # none where Python runs with -OO
    return doc.partition("\n")[0].partition(": ")[2].rstrip(".")


@app.command()
def lifeiqa() -> None:
    """List the commands of lifeiqa."""
    listed = commands()
    width = max(map(len, listed))
    for name, purpose in listed.items():
        typer.echo(f"{name:{width}}  {purpose}")
    typer.echo("\nEach explains itself with -h.")


def main() -> None:
    """Entry point of `python -m lifeiqa`."""
    run_app(app)


if __name__ == "__main__":
    main()
