"""From a checkpoint file to a checked ONNX file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lifeiqa.calibration.agreement import Agreement
from lifeiqa.calibration.limits import Limit, limit_for
from lifeiqa.export import onnx_file
from lifeiqa.export.check import check_export
from lifeiqa.models.checkpoint import load_checkpoint
from lifeiqa.models.network import parameters_of
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_path
from lifeiqa.runtime.manifest import Manifest


@dataclass(frozen=True)
class ExportRequest:
    """What a user asks for.

    Attributes:
        checkpoint: our own format or the authors'.
        folder: where the artifact goes; None for beside the checkpoint.
        with_experts: also give `expert_weights` (batch, N, E).
        half_weights: store matrices in half precision, widened at load.
        force: replace an artifact that is there.
    """

    checkpoint: Path
    folder: Path | None = None
    with_experts: bool = False
    half_weights: bool = False
    force: bool = False


@dataclass(frozen=True)
class ExportResult:
    """What was written, and how far it is from PyTorch.

    Attributes:
        path: of the ONNX file.
        size_bytes: of it.
        parameters: of the network.
        agreement, limit: measured on real crops, and what had to be kept.
        seconds: in all.
        manifest: as in the file.
    """

    path: Path
    size_bytes: int
    parameters: int
    agreement: Agreement
    limit: Limit
    seconds: float
    manifest: Manifest


STEPS = ("reading the checkpoint", "tracing the network", "writing", "checking against PyTorch")


def export_checkpoint(
    request: ExportRequest, progress: Callable[[int, str], None] = lambda k, step: None
) -> ExportResult:
    """Exports, checks and only then puts the file in place.

    Args:
        request: what to do.
        progress: called with the index of each of `STEPS` and its name, before it begins.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        UsageError: the artifact is there already.
        ParityError: the exported model is off; the file is not written.
        WriteError: it cannot be written.
    """
    began = time.monotonic()
    source = request.checkpoint
    target = (source.parent if request.folder is None else request.folder) / f"{source.stem}.onnx"
    if target.resolve() == source.resolve():
        raise UsageError(f"{source} would be overwritten by its own export; rename the checkpoint, or add -o DIR.")
    if os.path.lexists(target) and not request.force:
        raise UsageError(f"{target} is there already. Add --force to replace it, or -o DIR to write elsewhere.")
    progress(0, STEPS[0])
    checkpoint = load_checkpoint(source)
    progress(1, STEPS[1])
    model = onnx_file.trace(checkpoint, request.with_experts, request.half_weights)
    progress(2, STEPS[2])
    manifest = onnx_file.build_manifest(checkpoint, source.stem, request.half_weights)
    with atomic_path(target) as temporary:
        onnx_file.write(model, manifest, temporary)
        progress(3, STEPS[3])
        agreement = check_export(checkpoint, temporary, request.with_experts)
    return ExportResult(
        path=target,
        size_bytes=target.stat().st_size,
        parameters=parameters_of(checkpoint.config),
        agreement=agreement,
        limit=limit_for(manifest.precision, manifest.weights),
        seconds=time.monotonic() - began,
        manifest=manifest,
    )
