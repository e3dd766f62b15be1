"""Which contender runs which exported model, and under what name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import open_artifact_of
from contender import Task
from contenders import CONTENDERS

from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.runtime.errors import MissingError


@dataclass(frozen=True)
class Model:
    """An exported model that is measured, and what its manifest says of its precision."""

    path: Path
    precision: str
    flavor: str


@dataclass(frozen=True)
class Entry:
    """One contender with what it is loaded with.

    Attributes:
        name: unique in a file of figures, and the same on every machine.
        precision: of its arithmetic, or of the exported model.
        task: how it is loaded.
    """

    name: str
    precision: str
    task: Task


def opened_models(
    paths: Sequence[Path], checkpoint: Checkpoint, ckpt: Path, device: str
) -> tuple[list[Model], list[dict[str, str]]]:
    """What the manifests of artifacts say, and what cannot be opened on this machine.

    Raises:
        UsageError: one is not there, is not ours, or comes from another checkpoint.
    """
    models, left_out = [], []
    for path in paths:
        try:
            with open_artifact_of(checkpoint, ckpt, path, device) as backend:
                models.append(Model(path, backend.manifest.precision, backend.manifest.flavor))
        except MissingError as error:
            left_out.append({"name": path.name, "why": str(error)})
    return models, left_out


def entries_of(
    names: Sequence[str], models: Sequence[Model], ckpt: Path, device: str, threads: int
) -> tuple[list[Entry], list[dict[str, str]]]:
    """Puts each contender together with the models that it can run, and says which ones have nothing to run."""
    entries: dict[str, Entry] = {}
    left_out = []
    for name in names:
        contender = CONTENDERS[name]
        able = [
            model
            for model in models
            if model.path.suffix == contender.suffix and (not contender.fp32_only or model.precision == "fp32")
        ]
        if device not in contender.devices:
            left_out.append({"name": contender.title, "why": f"does not run on {device}"})
        elif not contender.suffix:
            precision = contender.precision or ""
            entries[contender.title] = Entry(contender.title, precision, Task(name, ckpt, None, device, threads))
        elif not able:
            wanted = f"{'FP32 ' if contender.fp32_only else ''}{contender.suffix} file"
            left_out.append({"name": contender.title, "why": f"needs an {wanted}, and none was given"})
        for model in able if contender.suffix and device in contender.devices else ():
            precision = contender.precision or f"{model.precision} {model.flavor}".strip()
            title = f"{contender.title}, {precision}"
            title = f"{title}, {model.path.name}" if title in entries else title
            title = f"{title} of {model.path.parent}" if title in entries else title
            entries[title] = Entry(title, precision, Task(name, ckpt, model.path, device, threads))
    return list(entries.values()), left_out


def file_facts(task: Task) -> dict[str, Any]:
    """Of the file that a contender loads: its sha256, and its size with that of the weights beside it."""
    contender = CONTENDERS[task.name]
    path = task.ckpt if contender.reads_checkpoint else task.model
    if path is None:
        return {"artifact_sha256": None, "size_bytes": None}
    weights = path.with_suffix(".bin")  # of OpenVINO's own format
    size = path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)
    made = contender.prepare is not None
    return {"artifact_sha256": None if made else hashlib.sha256(path.read_bytes()).hexdigest(), "size_bytes": size}
