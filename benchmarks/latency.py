"""Seconds a batch of crops takes in PyTorch and in an exported model, interleaved, as medians and ratios.

python benchmarks/latency.py                    the shipped checkpoint against a fresh export and the packaged one
python benchmarks/latency.py --ckpt best.pt best.onnx --batch 1 --batch 8
python benchmarks/latency.py --device cuda --compile best.fp16.engine
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from common import SHIPPED, open_artifact_of
from rich.console import Console
from rich.table import Table

from lifeiqa.export.pipeline import ExportRequest, export_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.console import new_app, progress_bar, run_app
from lifeiqa.runtime.errors import MissingError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import default_model

app = new_app()
PAUSE_S = 0.1


class Device(str, Enum):
    """Where networks run."""

    cpu = "cpu"
    cuda = "cuda"


def interleaved(
    runs: dict[str, Callable[[UInt8Array], object]], crops: UInt8Array, rounds: int
) -> dict[str, list[float]]:
    """Times every run once a round, so that what slows the machine slows all of them. The first round is dropped.

    Before each there is a pause: the threads of the one before spin for a while, on cores that the next one needs.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            run(crops)
            seconds[name].append(time.perf_counter() - began)
    return {name: values[1:] for name, values in seconds.items()}


@app.command()
def latency(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Exported models; none: those of the shipped one.")
    ] = None,
    ckpt: Annotated[Path, typer.Option(help="The checkpoint to compare with.")] = SHIPPED,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Batch sizes.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Measurements of each.")] = 20,
    device: Annotated[Device, typer.Option(help="Where everything runs.")] = Device.cpu,
    compiled: Annotated[bool, typer.Option("--compile", help="Also time torch.compile.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Compare the speed of PyTorch and exported artifacts."""
    checkpoint = load_checkpoint(ckpt)
    if device is Device.cuda and not torch.cuda.is_available():
        raise MissingError("PyTorch finds no usable GPU here. Check nvidia-smi, or use --device cpu.")
    network = checkpoint.build().to(device.value)
    reference = TorchScorer(network, checkpoint.preprocess, checkpoint.scale)
    batches = batch or [1, 5]
    _, picture = next(held_out_pictures())
    pool = crops_of(picture, checkpoint.preprocess, 64)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        if not artifacts:
            fresh = export_checkpoint(ExportRequest(ckpt, Path(folder), target="onnx")).artifacts[0]
            artifacts = [fresh.path, default_model()]
        backends = [open_artifact_of(checkpoint, ckpt, path, device.value) for path in artifacts]
        runs: dict[str, Callable[[UInt8Array], object]] = {"PyTorch eager": reference.score_crops}
        if compiled:
            faster: Any = torch.compile(network)
            runs["torch.compile"] = TorchScorer(faster, checkpoint.preprocess, checkpoint.scale).score_crops
        for path, backend in zip(artifacts, backends, strict=True):
            what = f"{backend.manifest.precision} {backend.manifest.flavor}".strip()
            name = f"{what}, {backend.engine}, {path.name}"
            runs[f"{name} of {path.parent}" if name in runs else name] = backend.infer
        with progress_bar("batch sizes") as update:
            for done, size in enumerate(batches):
                update(done, len(batches), f"batch {size}")
                timed = interleaved(runs, np.resize(pool, (size, *pool.shape[1:])), rounds)
                base = float(np.median(timed["PyTorch eager"]))
                for name, values in timed.items():
                    low, median, high = (float(v) for v in np.percentile(values, (10, 50, 90)))
                    rows.append(
                        {
                            "run": name,
                            "batch": size,
                            "median_s": median,
                            "p10_s": low,
                            "p90_s": high,
                            "speedup": base / median,
                        }
                    )
    table = Table(title=f"{os.cpu_count()} cores, {rounds} interleaved rounds")
    for heading in ("run", "batch", "median ms", "p10", "p90", "ms a crop", "times PyTorch"):
        text = heading == "run"
        table.add_column(heading, justify="left" if text else "right", overflow="fold" if text else "ellipsis")
    for r in rows:
        ms = [1000 * r[k] for k in ("median_s", "p10_s", "p90_s")]
        table.add_row(
            r["run"],
            str(r["batch"]),
            *(f"{v:.1f}" for v in ms),
            f"{ms[0] / r['batch']:.1f}",
            f"{r['speedup']:.2f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if json_file:
        where = {"machine": platform.machine(), "cpu_count": os.cpu_count(), "device": device.value}
        report = {**where, "rounds": rounds, "rows": rows}
        atomic_write(json_file, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    run_app(app)
