"""Seconds that a batch of crops takes in every engine, in PyTorch, in other networks and in classical scores.

python benchmarks/latency.py                    the shipped checkpoint: a fresh FP32 export of it, the packaged INT8
python benchmarks/latency.py --ckpt best.pt best.onnx --batch 1 --batch 8 --only onnxruntime --only pytorch
python benchmarks/latency.py --device cuda best.fp16.engine --json h100.latency.json

contenders.py has the names for --only, and what to install for all of them; compare.py compares two files of figures.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from cold_start import cold_start
from common import SHIPPED
from contender import Loaded, Score
from contenders import CONTENDERS, load, prepared
from crop_agreement import CropReference
from environment import environment
from latency_entries import Entry, entries_of, file_facts, opened_models
from latency_tables import show
from picture_stages import PICTURE, measure_stages

from lifeiqa.export.pipeline import ExportRequest, export_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.synthesis.ladders import PICTURES, held_out_pictures
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.console import long_progress, new_app, run_app, say
from lifeiqa.runtime.errors import LifeIQAError, MissingError, UsageError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.limits import usable_cores
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import default_model

app = new_app()
PAUSES_S = {"cpu": 0.1, "cuda": 0.01}  # by device
BATCHES = (1, 4, 8, 16)


class Device(str, Enum):
    """Where networks run."""

    cpu = "cpu"
    cuda = "cuda"


def interleaved(
    runs: Mapping[str, Score], crops: UInt8Array, rounds: int, pause_s: float = PAUSES_S["cpu"]
) -> dict[str, list[float]]:
    """Times every run once a round, so that what slows the machine slows all of them. The first round is dropped.

    Before each there is a pause: the threads of the one before spin for a while, on cores that the next one needs. On a
    GPU it is short, for one that idles lowers its clock.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            time.sleep(pause_s)
            began = time.perf_counter()
            run(crops)
            seconds[name].append(time.perf_counter() - began)
    return {name: values[1:] for name, values in seconds.items()}


def summary(batch: int, seconds: Sequence[float]) -> dict[str, float]:
    """Median, 5 %, 95 % and 99 % of the seconds that one batch took, and crops a second at the median."""
    low, median, high, highest = (float(v) for v in np.percentile(seconds, (5, 50, 95, 99)))
    times = {"median_s": median, "p5_s": low, "p95_s": high, "p99_s": highest}
    return {"batch": batch, **times, "crops_per_s": batch / median}


def open_entries(
    entries: Sequence[Entry], batches: Mapping[int, UInt8Array], folder: Path
) -> tuple[list[tuple[Entry, Loaded]], list[dict[str, str]]]:
    """Loads every contender and scores each batch once, so that what is compiled for a shape is there.

    Args:
        entries: the contenders.
        batches: (B, S, S, 3) uint8 RGB by batch size.
        folder: for files that contenders make.

    Returns:
        Those that work, and the others with the reason. What fails among our own other than by an error raised on
        purpose is a bug, and is not caught.
    """
    working, left_out = [], []
    with long_progress("loading") as update, contextlib.redirect_stdout(sys.stderr):
        for done, entry in enumerate(entries):
            update(done, len(entries), entry.name)
            try:
                task = prepared(entry.task, folder)
                loaded = load(task)
                for crops in batches.values():
                    loaded.score(crops)
                working.append((Entry(entry.name, entry.precision, task), loaded))
            except LifeIQAError as error:
                left_out.append({"name": entry.name, "why": str(error)})
            except Exception as error:  # other people's packages raise anything
                contender = CONTENDERS[entry.task.name]
                if contender.family == "lifeiqa" and contender.prepare is None:
                    raise
                reason = (str(error).splitlines() or ["no reason given"])[0]
                left_out.append({"name": entry.name, "why": f"{type(error).__name__}: {reason}"})
    return working, left_out


def measure(
    entries: Sequence[Entry],
    pool: UInt8Array,
    batches: Sequence[int],
    rounds: int,
    starts: int,
    folder: Path,
    pause_s: float = PAUSES_S["cpu"],
    reference: CropReference | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The fields "contenders" and "left_out" of the result file.

    Args:
        entries: the contenders.
        pool: (N, S, S, 3) uint8 RGB, repeated where a batch has more.
        batches: batch sizes.
        rounds: measurements of each contender and batch.
        starts: fresh processes of each contender; 0: none, and no figures of a cold start.
        folder: for files that contenders make.
        pause_s: seconds before each measurement.
        reference: that scores of the same network are compared with; None to compare none.
    """
    crops = {size: np.resize(pool, (size, *pool.shape[1:])) for size in batches}
    working, left_out = open_entries(entries, crops, folder)
    runs: dict[str, Score] = {entry.name: loaded.score for entry, loaded in working}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    with long_progress("batch sizes") as update:
        for done, size in enumerate(batches):
            update(done, len(batches), f"batch {size}")
            for name, seconds in interleaved(runs, crops[size], rounds, pause_s).items():
                rows[name].append(summary(size, seconds))
    engines = {entry.name: loaded.engine for entry, loaded in working}
    apart: dict[str, dict[str, Any]] = {name: dict.fromkeys(("worst_crop", "rms_crop")) for name in runs}
    with long_progress("scores of crops") as update:
        for done, (entry, loaded) in enumerate(working):
            update(done, len(working), entry.name)
            if reference is not None and CONTENDERS[entry.task.name].runs_checkpoint:
                apart[entry.name] |= reference.compare(loaded.score)
            loaded.close()
    contenders = []
    with long_progress("cold starts") as update:
        for done, (entry, _) in enumerate(working):
            update(done, len(working), entry.name)
            cold: dict[str, Any] = dict.fromkeys(("import_s", "load_s", "first_s", "memory_bytes"))
            try:
                cold |= asdict(cold_start(entry.task, pool[:1], starts)) if starts else {}
            except MissingError as error:
                left_out.append({"name": f"{entry.name}, cold start", "why": str(error)})
            contenders.append(
                {
                    "name": entry.name,
                    "family": CONTENDERS[entry.task.name].family,
                    "engine": engines[entry.name],
                    "precision": entry.precision,
                    **file_facts(entry.task),
                    **cold,
                    **apart[entry.name],
                    "batches": rows[entry.name],
                }
            )
    return contenders, left_out


@app.command()
def latency(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Exported models; none: those of the shipped one.")
    ] = None,
    ckpt: Annotated[Path, typer.Option(help="The checkpoint that they were exported from.")] = SHIPPED,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Batch sizes; without it 1, 4, 8 and 16.")] = None,
    rounds: Annotated[int, typer.Option(min=3, help="Measurements of each; 100 or more for a p99.")] = 20,
    device: Annotated[Device, typer.Option(help="Where everything runs.")] = Device.cpu,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all that this process may use.")] = 0,
    starts: Annotated[int, typer.Option(min=0, help="Fresh processes of each for the cold start; 0: none.")] = 3,
    pictures: Annotated[
        int,
        typer.Option(
            min=0, max=len(PICTURES), help="Held-out pictures, each with 35 distorted copies, to compare scores on."
        ),
    ] = len(PICTURES),
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(CONTENDERS)}; several times.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Compare the speed of exported artifacts, PyTorch, other networks and classical scores."""
    if unknown := [name for name in only or () if name not in CONTENDERS]:
        raise UsageError(f"--only {unknown[0]}: there is no such contender. There are {', '.join(CONTENDERS)}.")
    if json_file:
        require_writable(json_file.parent)
    checkpoint = load_checkpoint(ckpt)
    if device is Device.cuda and not torch.cuda.is_available():
        raise MissingError("PyTorch finds no usable GPU here. Check nvidia-smi, or use --device cpu.")
    names = [name for name in CONTENDERS if not only or name in only]
    batches = sorted(set(batch or BATCHES))
    _, picture = next(held_out_pictures())
    pool = crops_of(picture, checkpoint.preprocess, 64)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if not artifacts:
            fresh = export_checkpoint(ExportRequest(ckpt, folder, target="onnx")).artifacts[0]
            artifacts = [fresh.path, default_model()]
        models, absent = opened_models(artifacts, checkpoint, ckpt, device.value)
        entries, unable = entries_of(names, models, ckpt, device.value, threads)
        comparable = any(CONTENDERS[entry.task.name].runs_checkpoint for entry in entries)
        reference = CropReference.of(checkpoint, pictures if comparable else 0, batches[-1])
        contenders, failed = measure(entries, pool, batches, rounds, starts, folder, PAUSES_S[device.value], reference)
        left_out = [*absent, *unable, *failed]
        if not contenders:
            raise MissingError("; ".join(f"{one['name']}: {one['why']}" for one in left_out))
        stages: dict[str, Any] | None = None
        try:
            stages = measure_stages(folder, rounds, device.value, threads)
        except LifeIQAError as error:
            left_out.append({"name": "stages", "why": str(error)})
    report = {
        "kind": "latency",
        "format": 1,
        "environment": environment(),
        "configuration": {
            "device": device.value,
            "threads": threads or usable_cores(),
            "rounds": rounds,
            "batches": batches,
            "starts": starts,
            "pause_s": PAUSES_S[device.value],
            "checkpoint_sha256": checkpoint.sha256,
            "compared_crops": 0 if reference is None else len(reference.scores),
            "crop_size": checkpoint.preprocess.crop_size,
            "picture": PICTURE,
        },
        "contenders": contenders,
        "stages": stages,
        "left_out": left_out,
    }
    for one in left_out:
        say(f"left out: {one['name']}: {one['why']}")
    show(report)
    if json_file:
        atomic_write(json_file, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    run_app(app)
