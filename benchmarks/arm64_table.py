"""The results of arm64.sh as a table: is each emulated processor within the limits? Exits 4 where one is not.

python benchmarks/arm64_table.py RESULTS PICTURES
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from common import SHIPPED
from rich.console import Console
from rich.table import Table

from lifeiqa.calibration import limit_for
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.checkpoints.scorer import TorchScorer
from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.errors import ParityError, UsageError
from lifeiqa.runtime.images import read_image
from lifeiqa.runtime.manifest import Manifest
from lifeiqa.runtime.scorer import Scorer

HERE = "here"  # the machine that emulates
CROPS = "crops one by one, largest difference"

app = new_app()


@dataclass(frozen=True)
class Difference:
    """Scores of pictures against other scores of them, in points.

    Attributes:
        worst: the largest difference.
        mean: the mean of their sizes.
    """

    worst: float
    mean: float

    def __str__(self) -> str:
        return f"{self.worst:.3f} ({self.mean:.3f})"


def difference(scores: Mapping[str, float], others: Mapping[str, float]) -> Difference:
    """Compares scores by name.

    Raises:
        UsageError: they are of other pictures.
    """
    if scores.keys() != others.keys() or not scores:
        raise UsageError("The results are of other pictures than those in the folder; run arm64.sh again.")
    sizes = np.abs([scores[name] - others[name] for name in scores])
    return Difference(float(sizes.max()), float(sizes.mean()))


def read(path: Path) -> Any:
    """Reads a file of JSON. Raises `UsageError`."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read ({error}). Run arm64.sh first.") from error


def reference(pictures: Path) -> tuple[dict[str, float], Manifest]:
    """Scores of PyTorch by file name, and the manifest of the packaged model. Raises `ImageError`."""
    scorer = TorchScorer.of(load_checkpoint(SHIPPED))
    scores = {path.name: scorer.score(read_image(path).pixels) for path in sorted(pictures.iterdir())}
    with Scorer(device="cpu") as packaged:
        return scores, packaged.manifest


@app.command()
def arm64_table(
    results: Annotated[Path, typer.Argument(help="Folder that arm64.sh wrote.")],
    pictures: Annotated[Path, typer.Argument(help="Folder of the pictures that it scored.")],
) -> None:
    """Show what arm64.sh found, and hold it against the limits."""
    torch_scores, manifest = reference(pictures)
    worst = limit_for(manifest.precision, manifest.weights).worst * manifest.scale.span
    here = read(results / f"{HERE}.scores.json")
    table = Table(title=f"{manifest.name}, {manifest.precision}, {len(here)} pictures; points: worst (mean)")
    for heading in ("processor", "features", "pictures: to PyTorch", "to this machine", "golden crops: to PyTorch", ""):
        table.add_column(heading, overflow="fold")
    table.add_row("this machine", "", str(difference(here, torch_scores)), "", "", "")
    broken = []
    for path in sorted(results.glob("*.scores.json")):
        name = path.name.removesuffix(".scores.json")
        if name == HERE:
            continue
        scores, proof = read(path), read(results / f"{name}.proof.json")
        to_torch = difference(scores, torch_scores)
        passed = bool(proof["passed"]) and to_torch.worst <= worst
        broken += [] if passed else [name]
        crops = next(check["measured"] for check in proof["checks"] if check["name"] == CROPS)
        features = proof["machine"]["features"]
        table.add_row(
            *(name, features, str(to_torch), str(difference(scores, here)), crops), "ok" if passed else "[red]FAILED[/]"
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if broken:
        raise ParityError(f"Outside the limits ({worst:g} points): {', '.join(broken)}")


if __name__ == "__main__":
    run_app(app)
