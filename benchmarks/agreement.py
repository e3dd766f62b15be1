"""Scores of the FP32 export beside those of an INT8 artifact, picture by picture: what a scatter and a histogram show.

python benchmarks/agreement.py --json FILE                          the packaged model against a fresh FP32 export
python benchmarks/agreement.py --ckpt best.pt best.int8.onnx        your own
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from common import SHIPPED, open_artifact_of
from environment import environment
from rich.console import Console
from rich.table import Table

from lifeiqa.calibration import compare
from lifeiqa.export.pipeline import ExportRequest, export_checkpoint
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.synthesis.ladders import LADDERS, PICTURES, held_out_pictures, ladder
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends import Backend
from lifeiqa.runtime.console import long_progress, new_app, run_app
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import default_model

app = new_app()


def named_pictures(count: int) -> Iterator[tuple[str, UInt8Array]]:
    """The first `count` held-out pictures, each with all its distorted copies, in the order of parity.py.

    Yields:
        A name such as "astronaut" or "astronaut blur 3" (the strength from 1, mildest, to 5), and (H, W, 3) uint8 RGB.
    """
    for (name, picture), _ in zip(held_out_pictures(), range(count), strict=False):
        yield name, picture
        for kind in LADDERS:
            for strength, copy in enumerate(ladder(picture, kind)[1:], 1):
                yield f"{name} {kind} {strength}", copy


def result_of(artifact: Path, backend: Backend, names: Sequence[str], reference: np.ndarray, scores: np.ndarray) -> Any:
    """What the JSON file holds of one artifact.

    Args:
        artifact: its file.
        backend: that ran it.
        names: of the P pictures.
        reference: their scores (P,) by the FP32 export, on the model's scale.
        scores: their scores (P,) by the artifact.
    """
    found, differences = compare(reference, scores, 1.0), np.abs(scores - reference)
    data, manifest = artifact.read_bytes(), backend.manifest
    return {
        "pairs": [
            {"picture": name, "reference": float(a), "score": float(b)}
            for name, a, b in zip(names, reference, scores, strict=True)
        ],
        "artifact": {
            "name": artifact.name,
            "precision": manifest.precision,
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_bytes": len(data),
            "engine": f"{backend.engine} on {backend.device}",
            "scale": [manifest.scale.low, manifest.scale.high],
        },
        "srocc": found.srocc if math.isfinite(found.srocc) else None,
        "plcc": found.plcc if math.isfinite(found.plcc) else None,
        "worst": float(differences.max()),
        "median": float(np.median(differences)),
    }


def measure(
    checkpoint: Checkpoint, ckpt: Path, artifacts: Sequence[Path], count: int, device: str
) -> list[dict[str, Any]]:
    """Scores the pictures with a fresh FP32 export of a checkpoint and with every artifact; see `result_of`.

    Raises:
        UsageError, ManifestError, MissingError: an artifact cannot be used, or comes from another checkpoint.
    """
    with tempfile.TemporaryDirectory() as folder, long_progress("pictures") as update:
        exported = export_checkpoint(ExportRequest(ckpt, Path(folder), target="onnx")).artifacts[0].path
        backends = [open_artifact_of(checkpoint, ckpt, path, device) for path in (exported, *artifacts)]
        try:
            names, rows = list[str](), list[list[float]]()
            total = count * (1 + 5 * len(LADDERS))
            for name, picture in named_pictures(count):
                crops = crops_of(picture, checkpoint.preprocess)
                rows.append([float(backend.infer(crops).mean(dtype=np.float64)) for backend in backends])
                names.append(name)
                update(len(names), total, name)
            table = np.array(rows)  # (pictures, backends)
            return [
                result_of(path, backend, names, table[:, 0], table[:, k])
                for k, (path, backend) in enumerate(zip(artifacts, backends[1:], strict=True), 1)
            ]
        finally:
            for backend in backends:
                backend.close()


@app.command()
def agreement(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Exported models; none: the one inside the package.")
    ] = None,
    ckpt: Annotated[Path, typer.Option(help="The checkpoint that they were exported from.")] = SHIPPED,
    device: Annotated[str, typer.Option(help="Where they run: cpu, cuda or auto.")] = "cpu",
    pictures: Annotated[
        int, typer.Option(min=1, max=len(PICTURES), help="Held-out pictures, each with 35 distorted copies.")
    ] = len(PICTURES),
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the pairs; of one artifact.")] = None,
) -> None:
    """Compare the scores of an FP32 export with those of artifacts in another precision."""
    artifacts = artifacts or [default_model()]
    if json_file is not None:
        if len(artifacts) > 1:
            raise UsageError(
                "A file of pairs holds one artifact; call agreement.py once for each, or leave out --json."
            )
        require_writable(json_file.parent)
    checkpoint = load_checkpoint(ckpt)
    results = measure(checkpoint, ckpt, artifacts, pictures, device)
    _show(results)
    if json_file is not None:
        configuration = {
            "device": device,
            "checkpoint_sha256": checkpoint.sha256,
            "pictures": len(results[0]["pairs"]),
            "crops": checkpoint.preprocess.crops,
        }
        report = {
            "kind": "agreement",
            "format": 1,
            "environment": environment(),
            "configuration": configuration,
            **results[0],
        }
        atomic_write(json_file, (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())


def _show(results: Sequence[dict[str, Any]]) -> None:
    count = len(results[0]["pairs"])
    table = Table(title=f"Scores against those of the FP32 export, {count} pictures (differences: points of the scale)")
    for heading in ("artifact", "precision", "engine", "median", "worst", "SROCC", "PLCC"):
        text = heading in ("artifact", "precision", "engine")
        table.add_column(heading, justify="left" if text else "right", overflow="fold" if text else "ellipsis")
    for result in results:
        artifact = result["artifact"]
        correlations = ("n/a" if result[k] is None else f"{result[k]:.4f}" for k in ("srocc", "plcc"))
        differences = (f"{result[k]:.3g}" for k in ("median", "worst"))
        table.add_row(artifact["name"], artifact["precision"], artifact["engine"], *differences, *correlations)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    run_app(app)
