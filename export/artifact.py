"""What an export leaves behind; and engines from ONNX files that were exported before, without PyTorch."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lifeiqa.export.engine import Builder, EngineOptions, available_builder, build_engine, load_builder
from lifeiqa.runtime.backends.base import TensorInfo
from lifeiqa.runtime.backends.engine_info import EngineInfo
from lifeiqa.runtime.errors import MissingError, UsageError
from lifeiqa.runtime.manifest import Manifest

if TYPE_CHECKING:
    from lifeiqa.calibration.agreement import Agreement
    from lifeiqa.calibration.guard import GuardResult
    from lifeiqa.calibration.limits import Limit

Target: TypeAlias = Literal["auto", "onnx", "tensorrt", "tensorrt-rtx"]
Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Artifact:
    """One file that was written.

    Attributes:
        path, size_bytes: of the file.
        manifest: as in it, or in its sidecar.
        seconds: that it took.
        outputs: of the graph.
        agreement, limit: with PyTorch on held-out crops, and what had to be kept; None for engines, which may not run
            where they were built.
        guard: what the accuracy guard found; None in FP32 and for engines.
        slower: time of this graph over that of one with nothing kept; None where that was not measured.
        engine: what an engine was built for; None for ONNX files.
    """

    path: Path
    size_bytes: int
    manifest: Manifest
    seconds: float
    outputs: tuple[TensorInfo, ...] = ()
    agreement: Agreement | None = None
    limit: Limit | None = None
    guard: GuardResult | None = None
    slower: float | None = None
    engine: EngineInfo | None = None

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        guard = self.guard
        return {
            "path": str(self.path),
            "size_bytes": self.size_bytes,
            "seconds": round(self.seconds, 1),
            "manifest": json.loads(self.manifest.to_json()),
            "agreement": None if self.agreement is None else asdict(self.agreement),
            "limit": None if self.limit is None else asdict(self.limit),
            "engine": None if self.engine is None else asdict(self.engine),
            "slower": self.slower,
            "sensitivity": [] if guard is None else [asdict(row) for row in guard.table],
        }


@dataclass(frozen=True)
class Refusal:
    """One file that was not written, because it would not rank pictures as FP32 does.

    Attributes:
        path: that it would have had.
        precision: "fp16", "int8 cpu" or "int8 tensorrt".
        reason: what is off.
        guard: the best that the guard found; None where the graph passed it and then differed from PyTorch.
    """

    path: Path
    precision: str
    reason: str
    guard: GuardResult | None = None


@dataclass(frozen=True)
class ExportResult:
    """All that was written.

    Attributes:
        artifacts: in the order they were written.
        seconds: in all.
        notes: what a user should know.
        parameters: of the network; 0 where engines were built from ONNX files.
        refused: what was asked for and not written.
    """

    artifacts: tuple[Artifact, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    parameters: int = 0
    refused: tuple[Refusal, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "artifacts": [artifact.to_plain() for artifact in self.artifacts],
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
            "parameters": self.parameters,
            "refused": [
                {
                    "path": str(refusal.path),
                    "precision": refusal.precision,
                    "reason": refusal.reason,
                    "agreement": None if refusal.guard is None else asdict(refusal.guard.agreement),
                    "kept": [] if refusal.guard is None else list(refusal.guard.kept),
                }
                for refusal in self.refused
            ],
        }


def builder_for(target: Target, options: EngineOptions) -> Builder | None:
    """The builder that a target means; None for none.

    Raises:
        MissingError: it was asked for by name and is not here.
        UsageError: it can do nothing with one of the options.
    """
    if target == "onnx":
        return None
    name: Builder | None = "tensorrt_rtx" if target == "tensorrt-rtx" else "tensorrt"
    if target == "auto":
        name = available_builder()
    elif name is not None:
        load_builder(name)
    typed = {
        "--timing-cache": options.timing_cache is not None,
        "--hardware-compatible": options.hardware_compatible,
        "--version-compatible": options.version_compatible,
    }
    if name == "tensorrt_rtx" and any(typed.values()):
        raise UsageError(
            f"{' and '.join(option for option, there in typed.items() if there)} can do nothing for TensorRT for RTX: "
            "it measures no tactics when it builds, and compiles for the GPU at hand when it loads."
        )
    return name


def build_artifact(
    source: Path,
    target: Path,
    manifest: Manifest,
    outputs: tuple[TensorInfo, ...],
    builder: Builder,
    options: EngineOptions,
    progress: Progress,
) -> Artifact:
    """Builds one engine, see `build_engine`, and says what was written."""
    began = time.monotonic()
    progress(0, 0, f"building {target.name}")
    info = build_engine(
        source,
        target,
        manifest,
        builder,
        options,
        lambda done, total, text: progress(done, total, f"building {target.name}: {text}"),
    )
    return Artifact(target, info.size_bytes, manifest, time.monotonic() - began, outputs, engine=info)


def engine_path(onnx_file: Path, manifest: Manifest, folder: Path | None) -> Path:
    """best.onnx -> best.fp32.engine, best.int8.tensorrt.onnx -> best.int8.engine."""
    stem = onnx_file.name.removesuffix(".onnx")
    for ending in (f".{manifest.flavor}", f".{manifest.precision}"):
        stem = stem.removesuffix(ending)
    return (onnx_file.parent if folder is None else folder) / f"{stem}.{manifest.precision}.engine"


def build_from_onnx(
    files: list[Path], folder: Path | None, target: Target, options: EngineOptions, force: bool, progress: Progress
) -> ExportResult:
    """Builds an engine from each exported file, on a machine that needs neither PyTorch nor the checkpoint.

    Raises:
        UsageError, ManifestError: a file is missing, not ours, of the flavour for CPUs, or its engine is there already.
        MissingError: no builder is here.
        EngineError, WriteError: see `build_engine`.
    """
    from lifeiqa.runtime.backends.onnxruntime import OnnxRuntimeBackend

    began = time.monotonic()
    builder = builder_for(target, options)
    if builder is None:
        raise MissingError("No TensorRT is installed here. Install it: pip install tensorrt, or tensorrt-rtx-cu13")
    jobs: list[tuple[Path, Path, Manifest, tuple[TensorInfo, ...]]] = []
    for path in files:
        if not path.is_file():
            raise UsageError(f"There is no {path}. Export it: lifeiqa-export --ckpt best.pt")
        with OnnxRuntimeBackend(path, device="cpu") as backend:
            manifest, outputs = backend.manifest, backend.io.outputs
        if manifest.flavor == "cpu":
            raise UsageError(
                f"{path} is INT8 for CPUs, which TensorRT does not take; name {path.name.removesuffix('.onnx')}"
                ".tensorrt.onnx, which was exported with it."
            )
        engine = engine_path(path, manifest, folder)
        if os.path.lexists(engine) and not force:
            raise UsageError(f"{engine} is there already. Add --force to replace it, or -o DIR to write elsewhere.")
        if any(engine.resolve() == other.resolve() for _, other, _, _ in jobs):
            raise UsageError(
                f"{path} and another file would both become {engine}; build them into folders of their own."
            )
        jobs.append((path, engine, manifest, outputs))
    built = tuple(build_artifact(*job, builder, options, progress) for job in jobs)
    return ExportResult(built, time.monotonic() - began)
