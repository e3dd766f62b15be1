"""Writes sample pictures and degraded copies of them: `python benchmarks/demo_pictures.py FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lifeiqa.models.synthesis.ladders import held_out_pictures, ladder
from lifeiqa.runtime.opencv import cv2

LEVEL = 4


def write_demo_pictures(folder: Path) -> list[Path]:
    """Writes each picture and a blurred, a noisy and a JPEG-compressed copy of it, as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in held_out_pictures():
        for kind in ("pristine", "blur", "noise", "jpeg"):
            copy = picture if kind == "pristine" else ladder(picture, kind)[LEVEL]
            path = folder / (f"{name}.png" if kind == "pristine" else f"{name}_{kind}.png")
            path.write_bytes(cv2.imencode(".png", copy[:, :, ::-1])[1].tobytes())
            written.append(path)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="made where it is not there")
    write_demo_pictures(parser.parse_args().folder)
