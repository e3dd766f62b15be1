"""`lifeiqa-conformance`: proves that a model gives its checkpoint's scores on this machine, with a page to sign."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lifeiqa.runtime.command_line import BackendName, Device
from lifeiqa.runtime.console import new_app, progress_bar, run_app, say
from lifeiqa.runtime.errors import ParityError

if TYPE_CHECKING:
    from lifeiqa.runtime.conformance.checks import Proof
    from lifeiqa.runtime.conformance.subject import Subject

app = new_app()


@app.command()
def conformance(
    model: Annotated[
        Path | None,
        typer.Argument(help="Exported model, .onnx or .engine; without it, the one inside the package."),
    ] = None,
    device: Annotated[Device, typer.Option(help="Only auto ever falls back to another.")] = Device.auto,
    backend: Annotated[
        BackendName, typer.Option(help="Inference engine; auto takes what was measured to be right here.")
    ] = BackendName.auto,
    golden_folder: Annotated[
        Path | None,
        typer.Option(
            "--set",
            help="Folder of a golden set; without it, the packaged one, of the packaged model.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML page to write: one page of A4, to sign.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the proof as JSON.")] = False,
) -> None:
    """Check a model's scores against those of PyTorch, stored for the golden crops, within the limits of its precision.

    Exit codes: 0 every check passes, 2 the model or the golden set cannot be used, or they do not belong together,
    3 an engine or a device is missing, 4 a check fails.
    """
    from lifeiqa.runtime.backends import open_backend
    from lifeiqa.runtime.conformance.checks import prove
    from lifeiqa.runtime.conformance.page import page
    from lifeiqa.runtime.conformance.storage import PACKAGED, read_set
    from lifeiqa.runtime.conformance.subject import subject_of, to_json
    from lifeiqa.runtime.files import atomic_write, require_writable
    from lifeiqa.runtime.zoo import default_model

    if report:
        require_writable(report.parent)
    path = model or default_model()
    golden = read_set(golden_folder or PACKAGED)
    with open_backend(path, device.value, backend=backend.value) as opened, progress_bar("passes") as update:
        tolerance = golden.tolerance_for(opened.manifest, path.name)
        proof = prove(opened, golden, tolerance, update)
        subject = subject_of(path, opened, golden)
    if as_json:
        typer.echo(to_json(subject, proof, golden))
    else:
        _show(subject, proof)
    if report:
        atomic_write(report, page(subject, proof, golden).encode())
        say(f"report written to {report}")
    if not proof.passed:
        names = "; ".join(f"{check.name}: {check.measured}, limit {check.limit}" for check in proof.failed)
        raise ParityError(f"{len(proof.failed)} of {len(proof.judged)} checks fail. {names}")


def _show(subject: Subject, proof: Proof) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    engine = subject.machine["engine"]
    table = Table(title=Text(f"{subject.name}, {subject.precision}, {engine}"), title_justify="left")
    for heading in ("check", "result", "measured", "limit"):
        table.add_column(heading, overflow="fold")
    words = {True: ("pass", "green"), False: ("FAIL", "bold red"), None: ("-", "dim")}
    for check in proof.checks:
        table.add_row(Text(check.name), Text(*words[check.passed]), Text(check.measured), Text(check.limit))
    console.print(table)
    if proof.passed:
        console.print(f"Conforms: {len(proof.judged)} of {len(proof.judged)} checks pass.", style="green")


def main() -> None:
    """Entry point of `lifeiqa-conformance`."""
    run_app(app)
