"""`lifeiqa-export`: turns a checkpoint into files that run anywhere."""

from __future__ import annotations

import json
import math
import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lifeiqa.runtime.backends.engine_info import MAX_BATCH
from lifeiqa.runtime.console import long_progress, new_app, require, run_app, say, stderr
from lifeiqa.runtime.errors import LifeIQAError, ParityError, UsageError

if TYPE_CHECKING:
    from lifeiqa.export.artifact import Artifact, Refusal
    from lifeiqa.export.engine import EngineOptions

app = new_app()
TABLE_ROWS = 8  # of the sensitivity table; the rest is in --json


class TargetChoice(str, Enum):
    """What is made besides ONNX files."""

    auto = "auto"
    onnx = "onnx"
    tensorrt = "tensorrt"
    tensorrt_rtx = "tensorrt-rtx"


class MethodChoice(str, Enum):
    """How ranges of activations are chosen."""

    minmax = "minmax"
    entropy = "entropy"
    percentile = "percentile"


@app.command()
def export(
    ckpt: Annotated[
        Path | None,
        typer.Option(help="Checkpoint: of lifeiqa-train, or of the authors' training code.", show_default=False),
    ] = None,
    onnx: Annotated[
        list[Path] | None,
        typer.Option(help="In place of a checkpoint: exported ONNX files to build engines from.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; without it, the checkpoint's.", show_default=False),
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Also in half precision.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Also in INT8, for CPUs and for TensorRT.")] = False,
    calib_data: Annotated[
        str | None,
        typer.Option(
            help="Pictures to measure ranges on: a folder, a list (.txt), a CSV file, or NAME=PATH of a data set.",
            show_default=False,
        ),
    ] = None,
    calib_method: Annotated[MethodChoice, typer.Option(help="How ranges are chosen.")] = MethodChoice.percentile,
    calib_cache: Annotated[
        Path | None,
        typer.Option(help="File of ranges: used if it is there and fits, written otherwise.", show_default=False),
    ] = None,
    guard_data: Annotated[
        str | None, typer.Option(help="Pictures to measure precision on.", show_default="those of --calib-data")
    ] = None,
    max_srocc_drop: Annotated[
        float, typer.Option(min=0, max=1, help="SROCC that INT8 may lose against FP32, and against labels.")
    ] = 0.002,
    allow_worst: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=100,
            metavar="POINTS",
            help="How far the worst picture may be off in reduced precision, in points of 100.",
            show_default="0.5 in FP16, 3 in INT8",
        ),
    ] = None,
    target: Annotated[
        TargetChoice, typer.Option(help="Engines to build; auto: those that this machine can.")
    ] = TargetChoice.auto,
    batch: Annotated[str, typer.Option(help="MIN,OPT,MAX crops that an engine takes at once.")] = "1,4,16",
    workspace: Annotated[
        int, typer.Option(min=0, max=2**20, help="MiB that TensorRT may work in.", show_default="all")
    ] = 0,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File of measured tactics, read and extended.", show_default=False)
    ] = None,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="Engines for any GPU of Ampere or newer.")
    ] = False,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="Engines for newer TensorRT of the same major number too.")
    ] = False,
    triton: Annotated[
        Path | None,
        typer.Option(help="Also put every artifact into this Triton model repository.", show_default=False),
    ] = None,
    with_experts: Annotated[
        bool, typer.Option("--with-experts", help="Add the output expert_weights (batch, tokens, experts).")
    ] = False,
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store FP32 weights in half precision, widened at load.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace artifacts that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a Life-IQA checkpoint to ONNX and TensorRT, and check every ONNX file against PyTorch.

    Reduced precision is guarded: where it would rank pictures differently, the nodes that cost most stay in higher
    precision. Where that is not enough, that file is not written, and the others are.

    Exit codes: 0 done, 2 usage, 3 something is missing on this machine, 4 a model is off: it was not written.
    """
    from lifeiqa.export.engine import EngineOptions

    options = EngineOptions(_batch(batch), workspace, timing_cache, hardware_compatible, version_compatible)
    if (ckpt is None) == (not onnx):
        raise UsageError("Name a checkpoint with --ckpt, or exported files to build engines from with --onnx.")
    _refuse_useless(locals())
    with long_progress("export") as update:
        spoken = ""

        def progress(done: int, total: int, text: str) -> None:
            nonlocal spoken
            update(done, total, text)
            what = text.split(": ")[0]
            if what != spoken and not stderr.is_terminal:
                say(what)
                spoken = what

        if ckpt is None:
            from lifeiqa.export.artifact import build_from_onnx

            result = build_from_onnx(onnx or [], output, target.value, options, force, progress)
        else:
            result = _from_checkpoint(locals(), options, progress)
    failure = None
    if triton is not None:
        from lifeiqa.export.triton import write_repository

        try:
            result = write_repository(result, triton, options.batch, force)
        except LifeIQAError as error:  # what was exported is there all the same, and said to be
            failure = error
    if as_json:
        typer.echo(json.dumps(result.to_plain()))
    else:
        for note in result.notes:
            say(f"note: {note}")
        for artifact in result.artifacts:
            _show(artifact)
        for refusal in result.refused:
            _show_refusal(refusal)
        best = result.artifacts[0].path
        typer.echo(f"run it   lifeiqa-run --model {shlex.quote(str(best))} photo.jpg")
    if failure is not None:
        raise failure
    if result.refused:
        raise ParityError(_advice(result.refused))


def _show_refusal(refusal: Refusal) -> None:
    typer.echo(f"refused  {refusal.path}  {refusal.precision}: {refusal.reason}")
    if (result := refusal.guard) is None:
        return
    agreement, kept = result.agreement, f"{len(result.kept)} of {result.nodes} nodes in higher precision"
    typer.echo(
        f"best     Spearman {agreement.srocc:.5f}, worst picture {100 * agreement.worst:.2f} points of 100 off, {kept}"
    )


def _advice(refused: tuple[Refusal, ...]) -> str:
    """What was not written, and what would take it."""
    names = ", ".join(refusal.path.name for refusal in refused)
    text = f"Not written, because pictures would be ranked differently: {names}."
    worst = [100 * refusal.guard.agreement.worst for refusal in refused if refusal.guard is not None]
    off = [refusal for refusal in refused if "worst difference" in refusal.reason and "Spearman" not in refusal.reason]
    if len(off) == len(worst) == len(refused) and all(map(math.isfinite, worst)):
        text += f" --allow-worst {math.ceil(10 * max(worst)) / 10:g} takes them as they are."
    return f"{text} More or other calibration pictures, or another --calib-method, may help."


def _refuse_useless(given: dict[str, Any]) -> None:
    """Options that the others leave without effect are errors: who typed them expects something of them."""

    def refuse(names: tuple[str, ...], why: str) -> None:
        if typed := [f"--{name.replace('_', '-')}" for name in names if given[name]]:
            raise UsageError(f"{' and '.join(typed)} can do nothing here: {why}.")

    if given["ckpt"] is None:
        made = (
            "fp16",
            "int8",
            "calib_data",
            "calib_cache",
            "guard_data",
            "allow_worst",
            "with_experts",
            "half_weights",
        )
        refuse(made, "what --onnx names was exported before; export again with --ckpt")
        if given["target"] is TargetChoice.onnx:
            raise UsageError("--onnx builds engines, and --target onnx asks for none.")
    if not given["int8"]:
        refuse(("calib_cache",), "ranges are for --int8")
    if not (given["int8"] or given["fp16"]):
        refuse(("calib_data", "guard_data", "allow_worst"), "add --int8 or --fp16")
    if given["target"] is TargetChoice.onnx:
        options = ("workspace", "timing_cache", "hardware_compatible", "version_compatible")
        refuse(options, "--target onnx builds no engine")


def _from_checkpoint(given: dict[str, Any], options: EngineOptions, progress: Any) -> Any:
    require("export", "torch", "timm", "onnx", "onnxscript", "onnxruntime", "scipy", "skimage")
    from lifeiqa.calibration.statistics import Method
    from lifeiqa.export.pipeline import ExportRequest, export_checkpoint

    same = ("with_experts", "half_weights", "force", "fp16", "int8", "calib_data", "calib_cache", "guard_data")
    request = ExportRequest(
        checkpoint=given["ckpt"],
        folder=given["output"],
        calib_method=Method(given["calib_method"].value),
        max_srocc_drop=given["max_srocc_drop"],
        allow_worst=given["allow_worst"],
        target=given["target"].value,
        engine=options,
        **{name: given[name] for name in same},
    )
    return export_checkpoint(request, progress)


def _batch(text: str) -> tuple[int, int, int]:
    try:
        low, best, high = (int(part) for part in text.split(","))
    except ValueError:
        low, best, high = 0, 0, 0
    if not 1 <= low <= best <= high <= MAX_BATCH:
        raise UsageError(
            f"--batch is MIN,OPT,MAX with 1 <= MIN <= OPT <= MAX <= {MAX_BATCH}, such as 1,4,16; not {text!r}."
        )
    return low, best, high


def _show(artifact: Artifact) -> None:
    manifest, scale = artifact.manifest, artifact.manifest.scale
    what = f"{manifest.precision} {manifest.flavor}".strip()
    typer.echo(f"wrote    {artifact.path}  {artifact.size_bytes / 1e6:.1f} MB, {what}, {artifact.seconds:.0f} s")
    if artifact.engine is not None:
        where = artifact.engine.compute_capability or "compiled for the GPU at hand when it is loaded"
        typer.echo(
            f"engine   {artifact.engine.builder} {artifact.engine.version}, "
            f"batch {','.join(map(str, artifact.engine.batch))}, GPU: {where}"
        )
        return
    if manifest.precision == "fp32":
        range_text = "the checkpoint's own scale" if scale.own else f"{scale.low:g}-{scale.high:g}"
        typer.echo(f"scores   {range_text}, {'higher' if scale.higher_is_better else 'lower'} is better")
    if artifact.guard is not None:
        result = artifact.guard
        drop = "" if result.label_drop is None else f", SROCC with the labels lower by {result.label_drop:.4f}"
        typer.echo(
            f"guard    against FP32 on {result.agreement.count} scores: Spearman {result.agreement.srocc:.5f}, worst "
            f"picture {100 * result.agreement.worst:.2f} % of the range{drop}"
        )
        if result.kept:
            slower = "" if artifact.slower is None else f", {artifact.slower:.2f} times the time of plain INT8"
            typer.echo(f"kept     {len(result.kept)} of {result.nodes} nodes in higher precision{slower}:")
            for row in result.table[:TABLE_ROWS]:
                mark = "kept" if row.node in result.kept else ""
                typer.echo(f"         {row.rms:8.3f} points  {mark:4s}  {row.node}")
            costly = {row.node for row in result.table}
            for node in (name for name in result.kept if name not in costly):
                typer.echo(f"         between others   kept  {node}")
    if artifact.agreement is not None and artifact.limit is not None:
        a = artifact.agreement
        typer.echo(
            f"checked  against PyTorch on {a.count} crops: worst difference {a.worst:.1e} of the score range "
            f"(limit {artifact.limit.worst:.0e}), mean {a.mean:.1e}, Spearman {a.srocc:.6f}"
        )


def main() -> None:
    """Entry point of `lifeiqa-export`."""
    run_app(app)
