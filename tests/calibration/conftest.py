"""The shipped network's graph and statistics of it, measured once."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.statistics import Method, Statistics, measure_statistics
from lifeiqa.export import onnx_file
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.synthesis.ladders import LADDERS, ladder
from lifeiqa.runtime.preprocess import crops_of

SHIPPED = Path(__file__).resolve().parents[2] / "models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt"


@pytest.fixture(scope="session")
def lite0() -> onnx.ModelProto:
    return onnx_file.trace(load_checkpoint(SHIPPED))


@pytest.fixture(scope="session")
def pictures() -> PictureSet:
    """Two photographs that scikit-learn brings, and three rungs of each of their ladders."""
    from sklearn.datasets import load_sample_images

    spec = load_checkpoint(SHIPPED).preprocess
    found = []
    for picture in load_sample_images().images:
        found.append(picture)
        for name in LADDERS:
            found += ladder(picture, name)[1::2]
    return PictureSet("samples", tuple(crops_of(picture, spec, 2) for picture in found), None, "0")


@pytest.fixture(scope="session")
def statistics(lite0: onnx.ModelProto, pictures: PictureSet) -> Statistics:
    return measure_statistics(lite0, pictures, Method.percentile)[0]
