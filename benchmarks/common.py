"""What the benchmarks share: the shipped checkpoint, pictures to calibrate on, comparing like with like."""

from __future__ import annotations

from pathlib import Path

import cv2

from lifeiqa.models.checkpoint import Checkpoint
from lifeiqa.models.ladders import LADDERS, ladder
from lifeiqa.runtime.backends import Backend, open_backend
from lifeiqa.runtime.errors import UsageError

SHIPPED = Path(__file__).resolve().parent.parent / "models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt"


def open_artifact_of(checkpoint: Checkpoint, ckpt: Path, artifact: Path) -> Backend:
    """Opens an artifact on the CPU.

    Raises:
        UsageError: it was exported from another checkpoint than the one read from `ckpt`.
    """
    backend = open_backend(artifact, device="cpu")
    if backend.manifest.checkpoint_sha256 != checkpoint.sha256:
        backend.close()
        raise UsageError(f"{artifact} comes from another checkpoint than {ckpt}; compare like with like.")
    return backend


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
