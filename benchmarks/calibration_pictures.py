"""Writes pictures to calibrate the shipped model on: `python benchmarks/calibration_pictures.py FOLDER`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lifeiqa.models.synthesis.ladders import LADDERS, ladder
from lifeiqa.runtime.opencv import cv2


def write_calibration_pictures(folder: Path) -> None:
    """Writes scikit-learn's two sample photographs and every rung of every ladder of them as PNG.

    72 pictures, 360 crops. The held-out pictures are others: nothing is calibrated on those.
    """
    from sklearn.datasets import load_sample_images

    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(load_sample_images().images):
        copies = {"pristine": picture}
        for name in LADDERS:
            copies |= {f"{name}_{level}": copy for level, copy in enumerate(ladder(picture, name)) if level}
        for name, copy in copies.items():
            data = cv2.imencode(".png", copy[:, :, ::-1])[1].tobytes()
            (folder / f"{number}_{name}.png").write_bytes(data)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="made where it is not there")
    write_calibration_pictures(parser.parse_args().folder)
