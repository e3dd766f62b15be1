"""What a proof is about: the model's file, the golden set, the machine; as named facts, and the whole as JSON."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import lifeiqa
from lifeiqa.runtime.backends import Backend
from lifeiqa.runtime.conformance.checks import Proof
from lifeiqa.runtime.conformance.golden import VIEWS, GoldenSet
from lifeiqa.runtime.conformance.storage import sha256_of
from lifeiqa.runtime.limits import usable_cores
from lifeiqa.runtime.processor import processor


@dataclass(frozen=True)
class Subject:
    """Facts by name, in the order in which they are shown.

    Attributes:
        name: of the model.
        precision: with the flavor and the storage of the weights, for people.
        date: local time, with the offset from UTC.
        model, golden, machine: what they are.
    """

    name: str
    precision: str
    date: str
    model: dict[str, str]
    golden: dict[str, str]
    machine: dict[str, str]


def subject_of(path: Path, backend: Backend, golden: GoldenSet) -> Subject:
    """Gathers the facts; reads the model's file once more for its sha256."""
    manifest = backend.manifest
    stored = "" if manifest.weights == manifest.precision else f", {manifest.weights.upper()} weights"
    flavor = f" for {manifest.flavor}" if manifest.flavor else ""
    precision = f"{manifest.precision.upper()}{flavor}{stored}"
    cpu = processor()
    features = ", ".join(name for name, here in cpu.features.items() if here) or "none of those that matter"
    return Subject(
        name=manifest.name,
        precision=precision,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z"),
        model={
            "name": manifest.name,
            "file": path.name,
            "precision": precision,
            "exported by": f"lifeiqa {manifest.version}",
            "sha256 of the file": sha256_of(path.read_bytes()),
            "sha256 of the checkpoint": manifest.checkpoint_sha256,
        },
        golden={
            "crops": f"{len(golden.crops)} crops in {VIEWS} mirrored views each",
            "made by": f"made by lifeiqa {golden.version}",
            "sha256": f"sha256 {golden.sha256}",
        },
        machine={
            "processor": cpu.name or cpu.machine,
            "architecture": cpu.machine,
            "features": features,
            "cores": f"{usable_cores()} usable",
            "engine": f"{backend.engine} on {backend.device}",
            "system": platform.platform(terse=True),
            "software": f"lifeiqa {lifeiqa.__version__}, Python {platform.python_version()}, NumPy {np.__version__}",
        },
    )


def to_json(subject: Subject, proof: Proof, golden: GoldenSet) -> str:
    """One object: `passed`, the facts, `checks`, and the scores of each crop. What is no number is null."""
    scored = len(proof.one) > 0
    values = {
        "passed": proof.passed,
        "date": subject.date,
        "model": subject.model,
        "golden_set": subject.golden,
        "machine": subject.machine,
        "checks": [
            {"name": c.name, "passed": c.passed, "measured": c.measured, "limit": c.limit, "values": c.values}
            for c in proof.checks
        ],
        "crops": [
            {
                "name": crop.name,
                "kind": crop.kind,
                "expected": float(proof.expected[k]),
                "one_by_one": float(proof.one[k]) if scored else None,
                "in_batches": float(proof.several[k]) if scored else None,
            }
            for k, crop in enumerate(golden.crops)
        ],
    }
    return json.dumps(_plain(values), indent=1)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
