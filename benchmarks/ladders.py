"""Does a model give a worse picture the lower score? Ladders of seven distortions on the held-out pictures.

python benchmarks/ladders.py                          the model inside the package
python benchmarks/ladders.py best.onnx --sheet s.jpg  your own, and a picture of what it said
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lifeiqa.models.synthesis.ladders import evaluate_ladders, held_out_pictures, ladder
from lifeiqa.runtime import Scorer
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.opencv import cv2

TILE = 160
SHEET_ROWS = ("blur", "noise", "jpeg", "darken")
app = new_app()


def sheet(scorer: Scorer) -> UInt8Array:
    """Levels from left to right, one distortion a row, each picture with its score. (H, W, 3) uint8 RGB."""
    _, picture = next(held_out_pictures())
    rows = []
    for name in SHEET_ROWS:
        tiles = []
        for copy in ladder(picture, name):
            tile = cv2.resize(copy, (TILE, TILE), interpolation=cv2.INTER_AREA)
            tile = cv2.copyMakeBorder(tile, 0, 24, 2, 2, cv2.BORDER_CONSTANT, value=(255, 255, 255))
            text, where = f"{scorer.score(copy).score:.0f}", (TILE // 2 - 10, TILE + 18)
            cv2.putText(tile, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
            tiles.append(tile)
        rows.append(np.hstack(tiles))
    return np.vstack(rows).astype(np.uint8)


@app.command()
def ladders(
    model: Annotated[Path | None, typer.Argument(help="Exported model; none: the one inside the package.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
    sheet_file: Annotated[Path | None, typer.Option("--sheet", help="File for a picture of some ladders.")] = None,
) -> None:
    """Count the neighbouring levels that a model puts in the right order."""
    with Scorer(model, device="cpu") as scorer:
        result = evaluate_ladders(lambda picture: scorer.score(picture).raw)
        if sheet_file:
            _, data = cv2.imencode(sheet_file.suffix, sheet(scorer)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
            atomic_write(sheet_file, data.tobytes())
    for name, share in result.by_type.items():
        print(f"{name:10s} {share:6.1%}")
    print(f"{'all':10s} {result.in_order:6.1%} of {result.pairs} neighbouring pairs in order")
    print(
        f"{'mildest':10s} {result.mildest_in_order:6.1%} of {result.mildest_pairs} pristine-to-mildest pairs in order"
    )
    if json_file:
        atomic_write(json_file, (json.dumps(asdict(result), indent=1) + "\n").encode())


if __name__ == "__main__":
    run_app(app)
