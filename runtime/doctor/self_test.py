"""Scores the built-in picture with the packaged model, and compares with the score that is stored beside it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lifeiqa.runtime.doctor.report import Check, State
from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.zoo import default_model

_REINSTALL = "Install lifeiqa again."


@dataclass(frozen=True)
class Expected:
    """What the packaged model must be, and must give. `benchmarks/self_test.py` measures it and writes the file.

    Attributes:
        sha256: of the model file.
        score: of the built-in picture.
        tolerance: how far another engine or processor may be from it.
    """

    sha256: str
    score: float
    tolerance: float


def expected_path(model: Path) -> Path:
    """lifeiqa-lite0.onnx -> lifeiqa-lite0.json."""
    return model.with_suffix(".json")


def read_expected(model: Path) -> Expected:
    """Reads what is stored beside a packaged model. Raises `ManifestError` where that is missing or malformed."""
    path = expected_path(model)
    try:
        values = json.loads(path.read_bytes())
        return Expected(str(values["sha256"]), float(values["score"]), float(values["tolerance"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ManifestError(f"{path} is not readable as what the self-test expects ({error}). {_REINSTALL}") from error


def check_model() -> list[Check]:
    """Whether the packaged model is the file that was packaged. Raises `ManifestError`."""
    model = default_model()
    expected = read_expected(model)
    try:
        sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise ManifestError(f"{model} cannot be read ({error.strerror}). {_REINSTALL}") from error
    values = {"sha256": sha256, "expected": expected.sha256}
    if sha256 != expected.sha256:
        text = f"{model} is not the file that was packaged (sha256 {sha256[:12]}, not {expected.sha256[:12]}). "
        return [Check("packaged model", State.broken, text + _REINSTALL, values)]
    return [Check("packaged model", State.ok, f"{model.stem}, sha256 {sha256[:12]} as packaged", values)]


def check_score() -> list[Check]:
    """What `auto` takes on this machine and why, and whether that gives the score it must.

    Raises:
        LifeIQAError: nothing can be scored on this machine.
    """
    from lifeiqa.runtime.backends import choose_engine
    from lifeiqa.runtime.doctor.picture import built_in_picture, doubled
    from lifeiqa.runtime.scorer import Scorer

    expected = read_expected(default_model())
    with Scorer() as scorer:
        manifest, backend = scorer.manifest, scorer.backend
        reason = choose_engine("auto", manifest.precision)[1]
        why = f"{reason}; {backend.why}; the packaged model is {manifest.precision}"
        choice = f"{backend.engine} on {backend.device}, {manifest.precision}: {why}"
        chosen = {"engine": backend.engine, "device": backend.device, "precision": manifest.precision, "why": why}
        score = scorer.score(doubled(built_in_picture())).score
    engine, reason = choose_engine("auto", "fp32")
    other = Check("auto, FP32 files", State.ok, f"{engine}: {reason}", {"engine": engine, "why": reason})
    return [Check("auto", State.ok, choice, chosen), other, compared("self-test", score, expected)]


def compared(name: str, score: float, expected: Expected, about: str = "") -> Check:
    """The check of a score of the built-in picture; `about` stands before what it came to."""
    text = f"{about}the built-in picture scores {score:.2f}, expected {expected.score:.2f} +- {expected.tolerance:g}"
    values = {"score": score, "expected": expected.score, "tolerance": expected.tolerance}
    fits = abs(score - expected.score) <= expected.tolerance
    return Check(name, State.ok if fits else State.broken, text, values)
