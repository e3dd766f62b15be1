"""`lifeiqa-export`: turns a checkpoint into a file that runs anywhere."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lifeiqa.runtime.console import new_app, progress_bar, require, run_app, say, stderr

app = new_app()


@app.command()
def export(
    ckpt: Annotated[Path, typer.Option(help="Checkpoint: of lifeiqa-train, or of the authors' training code.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; without it, the checkpoint's.", show_default=False),
    ] = None,
    with_experts: Annotated[
        bool, typer.Option("--with-experts", help="Add the output expert_weights (batch, tokens, experts).")
    ] = False,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store weights in half precision, widened at load: half the file.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a Life-IQA checkpoint to ONNX and check it against PyTorch.

    Exit codes: 0 done, 2 usage, 3 something is missing on this machine, 4 the exported model is off.
    """
    require("export", "torch", "timm", "onnx", "onnxscript", "onnxruntime", "scipy", "skimage")
    from lifeiqa.export.pipeline import STEPS, ExportRequest, export_checkpoint

    request = ExportRequest(ckpt, output, with_experts, half_weights, force)
    with progress_bar("export") as update:

        def progress(index: int, step: str) -> None:
            update(index, len(STEPS), step)
            if not stderr.is_terminal:
                say(f"[{index + 1}/{len(STEPS)}] {step}")

        result = export_checkpoint(request, progress)
    command = f"lifeiqa-run --model {shlex.quote(str(result.path))} photo.jpg"
    a = result.agreement
    if as_json:
        values = {
            "path": str(result.path),
            "size_bytes": result.size_bytes,
            "parameters": result.parameters,
            "agreement": asdict(a),
            "limit": asdict(result.limit),
            "seconds": round(result.seconds, 1),
            "manifest": json.loads(result.manifest.to_json()),
            "run": command,
        }
        typer.echo(json.dumps(values))
        return
    scale = result.manifest.scale
    range_text = "the checkpoint's own scale" if scale.own else f"{scale.low:g}-{scale.high:g}"
    typer.echo(
        f"wrote    {result.path}  {result.size_bytes / 1e6:.1f} MB, {result.parameters / 1e6:.2f} M parameters, "
        f"{result.manifest.precision}, {result.seconds:.0f} s"
    )
    typer.echo(f"scores   {range_text}, {'higher' if scale.higher_is_better else 'lower'} is better")
    typer.echo(
        f"checked  against PyTorch on {a.count} crops: worst difference {a.worst:.1e} of the score range "
        f"(limit {result.limit.worst:.0e}), mean {a.mean:.1e}, Spearman {a.srocc:.6f}"
    )
    typer.echo(f"run it   {command}")


def main() -> None:
    """Entry point of `lifeiqa-export`."""
    run_app(app)
