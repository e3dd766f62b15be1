"""Does every exported artifact still score as PyTorch does? Prints a table; exits 4 when a limit is passed.

python benchmarks/parity.py                                       the shipped checkpoint: a fresh export of it in
                                                                  every precision, and the model inside the package
python benchmarks/parity.py --update                              the same, and its figures become the reference
python benchmarks/parity.py --ckpt best.pt best.onnx --images DIR your own, on your own pictures

The first also fails where figures are worse or better than in results/parity.json: see parity_reference.py.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from calibration_pictures import write_calibration_pictures
from common import SHIPPED, open_artifact_of
from parity_reference import (
    ADVICE,
    REFERENCE,
    Change,
    changes,
    other_kind,
    other_versions,
    read_reference,
    title,
    write_reference,
)
from rich.console import Console
from rich.table import Table

from lifeiqa.calibration import Agreement, compare, compare_pictures, limit_for
from lifeiqa.export.pipeline import ExportRequest, export_checkpoint
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.models.synthesis.ladders import LADDERS, held_out_pictures, ladder
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends import Backend
from lifeiqa.runtime.console import long_progress, new_app, progress_bar, run_app, say
from lifeiqa.runtime.errors import ParityError, UsageError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import default_model
from lifeiqa.runtime.sources.files import samples
from lifeiqa.runtime.sources.scan import Scan

app = new_app()


def pictures(folder: Path | None) -> Iterator[UInt8Array]:
    """The held-out pictures with all their distorted copies, or a folder of the user's own."""
    if folder is None:
        for _, picture in held_out_pictures():
            yield picture
            for name in LADDERS:
                yield from ladder(picture, name)[1:]
    else:
        for sample in samples(Scan([str(folder)])):
            if sample.pixels is None:
                raise UsageError(f"{sample.source}: {sample.error}")
            yield sample.pixels


def measure(backend: Backend, crops: list[UInt8Array], reference: list[np.ndarray]) -> tuple[Agreement, float]:
    """Differences of crops in FP32, of pictures in reduced precision; correlations of pictures; seconds a picture."""
    began = time.perf_counter()
    scores = [backend.infer(batch) for batch in crops]
    seconds = (time.perf_counter() - began) / len(crops)
    span = backend.manifest.scale.span
    if backend.manifest.precision != "fp32":
        return compare_pictures(reference, scores, span), seconds
    every = compare(np.concatenate(reference), np.concatenate(scores), span)
    means = [np.array([np.mean(s, dtype=np.float64) for s in side]) for side in (reference, scores)]
    over_pictures = compare(means[0], means[1], span)
    return Agreement(every.worst, every.mean, over_pictures.srocc, over_pictures.plcc, len(crops)), seconds


def _export(ckpt: Path, folder: Path) -> list[Path]:
    """A fresh export in every precision, with ranges of pictures that scikit-learn brings."""
    write_calibration_pictures(folder / "calibration")
    request = ExportRequest(ckpt, folder, fp16=True, int8=True, calib_data=str(folder / "calibration"), target="onnx")
    with long_progress("exporting") as update:
        return [artifact.path for artifact in export_checkpoint(request, update).artifacts]


def _rows(
    artifacts: list[Path], checkpoint: Checkpoint, ckpt: Path, device: str, pictures: list[UInt8Array]
) -> list[dict[str, Any]]:
    """The figures of each artifact, on the crops of each picture."""
    scorer = TorchScorer.of(checkpoint)
    with progress_bar("pictures in PyTorch") as update:
        scores = []
        for crops in pictures:
            scores.append(scorer.score_crops(crops)[0].numpy())
            update(len(scores), len(pictures), "")
    rows = []
    for artifact in artifacts:
        with open_artifact_of(checkpoint, ckpt, artifact, device) as backend:
            manifest, engine = backend.manifest, f"{backend.engine} on {backend.device}"
            agreement, seconds = measure(backend, pictures, scores)
        limit = limit_for(manifest.precision, manifest.weights)
        data = artifact.read_bytes()
        violations = agreement.violations(limit)
        rows.append(
            {
                "artifact": artifact.name,
                "sha256": hashlib.sha256(data).hexdigest(),
                "size_bytes": len(data),
                "precision": manifest.precision,
                "weights": manifest.weights,
                "flavor": manifest.flavor,
                "engine": engine,
                "kept": len(manifest.kept),
                **asdict(agreement),
                "limit": asdict(limit),
                "seconds_per_picture": seconds,
                "tools": manifest.tools,
                "ok": not violations,
                "violations": violations,
            }
        )
    return rows


@app.command()
def parity(
    artifacts: Annotated[
        list[Path] | None, typer.Argument(help="Exported models; none: those of the shipped one.")
    ] = None,
    ckpt: Annotated[Path, typer.Option(help="The checkpoint that they were exported from.")] = SHIPPED,
    images: Annotated[Path | None, typer.Option(help="Folder of pictures; none: the held-out set.")] = None,
    device: Annotated[str, typer.Option(help="Where artifacts run: cpu, cuda or auto.")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Figures to compare with; none: those of the shipped one, for a run of it.")
    ] = None,
    update: Annotated[bool, typer.Option("--update", help="Write the figures as the reference.")] = False,
) -> None:
    """Compare PyTorch with exported artifacts on pictures that nothing was trained on."""
    if reference is None and not artifacts and ckpt.resolve() == SHIPPED and images is None and device == "cpu":
        reference = REFERENCE
    if update:
        if reference is None:
            raise UsageError("The reference is of the shipped model; for figures of others, add --reference FILE.")
        require_writable(reference.parent)
    checkpoint = load_checkpoint(ckpt)
    expected = None if update or reference is None else read_reference(reference, checkpoint.sha256)
    with tempfile.TemporaryDirectory() as folder:
        if not artifacts:
            artifacts = [*_export(ckpt, Path(folder)), default_model()]
        crops = [crops_of(picture, checkpoint.preprocess) for picture in pictures(images)]
        if len(crops) < 2:
            raise UsageError("Parity needs at least two pictures: a correlation of one means nothing.")
        rows = _rows(artifacts, checkpoint, ckpt, device, crops)
    left_out = other_kind(expected) if expected else ""
    if left_out:
        say(left_out)
    found = changes(expected, rows) if expected and not left_out else []
    _show(rows, expected, found)
    report = {
        "checkpoint": ckpt.name,
        "checkpoint_sha256": checkpoint.sha256,
        "pictures": len(crops),
        "crops": sum(map(len, crops)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "artifacts": rows,
        "reference": expected and {**expected, "left_out": left_out, "changes": [asdict(change) for change in found]},
    }
    if json_file:
        atomic_write(json_file, (json.dumps(report, indent=1) + "\n").encode())
    if broken := [f"{row['artifact']}: {violation}" for row in rows for violation in row["violations"]]:
        raise ParityError("; ".join(broken))
    if update:
        assert reference is not None
        write_reference(reference, report)
        say(f"{reference} has these figures now.")
    if expected and found:
        listed = "; ".join(map(str, found))
        raise ParityError(f"Not as in {reference}: {listed}. {other_versions(expected)}{ADVICE}")


def _show(rows: list[dict[str, Any]], expected: dict[str, Any] | None, found: list[Change]) -> None:
    before = {title(row): row for row in expected["artifacts"]} if expected else {}
    table = Table(
        title=f"PyTorch against exported artifacts, {rows[0]['count']} pictures (differences: of the score range)"
    )
    for heading in ("artifact", "precision", "kept", "MB", "worst", "reference", "limit", "mean", "SROCC", "PLCC", ""):
        text = heading in ("artifact", "precision")
        table.add_column(heading, justify="left" if text else "right", overflow="fold" if text else "ellipsis")
    for r in rows:
        name = title(r)
        verdicts = dict.fromkeys(change.verdict for change in found if change.row == name)
        verdict = ", ".join(verdicts) if r["ok"] else "FAILED"
        table.add_row(
            r["artifact"],
            f"{r['precision']} {r['flavor']}".strip(),
            f"{r['kept']}",
            f"{r['size_bytes'] / 1e6:.1f}",
            f"{r['worst']:.1e}",
            f"{before[name]['worst']:.1e}" if name in before else "-",
            f"{r['limit']['worst']:.0e}",
            f"{r['mean']:.1e}",
            f"{r['srocc']:.6f}",
            f"{r['plcc']:.6f}",
            f"[bold red]{verdict}[/]" if verdict else "ok",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    run_app(app)
