"""Scores the self-test's picture with every CPU engine here, and writes what `lifeiqa-doctor` expects of a new model.

python benchmarks/self_test.py            compares the engines with what is stored
python benchmarks/self_test.py --write    stores the model's sha256 and ONNX Runtime's score
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import asdict
from typing import Annotated

import typer

from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.doctor.picture import built_in_picture
from lifeiqa.runtime.doctor.self_test import Expected, expected_path, read_expected
from lifeiqa.runtime.errors import ParityError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.zoo import default_model

app = new_app()
# Points. ONNX Runtime with every optimisation and with none, OpenVINO, with and without VNNI, with 1 to 4 threads, are
# within 0.11 of each other (one crop by itself: 0.6). INT8 sums that overflow move scores by up to 17.
TOLERANCE = 1.0
ENGINES = ("onnxruntime", "openvino")
THREADS = (0, 1, 2, 4)


@app.command()
def self_test(write: Annotated[bool, typer.Option("--write", help="Store the result in the package.")] = False) -> None:
    """Score the built-in picture with every CPU engine that is installed."""
    model = default_model()
    scores = {}
    for engine in (name for name in ENGINES if importlib.util.find_spec(name) is not None):
        for threads in THREADS:
            with open_backend(model, "cpu", threads, engine) as backend:
                crops = crops_of(built_in_picture(), backend.manifest.preprocess)
                scores[engine, threads] = float(backend.infer(crops).astype("float64").mean())
                print(f"{backend.engine:24} threads {threads or 'all':>3}  {scores[engine, threads]:.4f}")
    spread = max(scores.values()) - min(scores.values())
    expected = Expected(hashlib.sha256(model.read_bytes()).hexdigest(), round(scores["onnxruntime", 0], 2), TOLERANCE)
    print(f"spread {spread:.4f}; tolerance {TOLERANCE}")
    if spread > TOLERANCE / 2 or not 20 <= expected.score <= 80:
        raise ParityError("The engines differ by more than half the tolerance, or the score is not in 20-80.")
    if write:
        atomic_write(expected_path(model), (json.dumps(asdict(expected), indent=1) + "\n").encode())
    elif read_expected(model) != expected:
        raise ParityError(f"{expected_path(model).name} holds {read_expected(model)}, found {expected}; see --write.")


if __name__ == "__main__":
    run_app(app)
