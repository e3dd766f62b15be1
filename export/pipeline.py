"""From a checkpoint file to checked artifacts: ONNX in every precision asked for, and engines."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from lifeiqa.calibration.cache import CacheKey, read_cache, write_cache
from lifeiqa.calibration.graph import Scores, large_nodes, weighted_nodes, without_islands
from lifeiqa.calibration.guard import Guard, GuardResult, relative_time, with_drop
from lifeiqa.calibration.limits import RECOMMENDED_CROPS, Limit, guard_limit, limit_for
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.qdq import Flavor, quantize
from lifeiqa.calibration.statistics import Method, Statistics, measure_statistics
from lifeiqa.export import onnx_file
from lifeiqa.export.artifact import (
    Artifact,
    ExportResult,
    Progress,
    Refusal,
    Target,
    build_artifact,
    builder_for,
)
from lifeiqa.export.check import ExportCheck
from lifeiqa.export.engine import EngineOptions
from lifeiqa.export.half import sensitive_nodes, to_half
from lifeiqa.export.pictures import held_out_set, named_pictures
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.network.life_iqa import parameters_of
from lifeiqa.runtime.errors import EngineError, ParityError, UsageError
from lifeiqa.runtime.files import atomic_path, require_writable

DEFAULT_DROP = 0.002


@dataclass(frozen=True)
class ExportRequest:
    """What a user asks for.

    Attributes:
        checkpoint: our own format or the authors'.
        folder: where artifacts go; None for beside the checkpoint.
        with_experts: also give `expert_weights` (batch, N, E).
        half_weights: store the FP32 graph's matrices in half precision, widened at load.
        force: replace artifacts that are there.
        fp16, int8: which precisions to make beside FP32.
        calib_data: pictures for ranges, see `named_pictures`; needed for INT8 unless `calib_cache` is there.
        calib_method: how ranges are chosen.
        calib_cache: file of ranges, read if it is there and fits, written otherwise.
        guard_data: pictures that precision is measured on; None for `calib_data`, and without that the held-out ones.
        max_srocc_drop: SROCC that INT8 may lose against FP32.
        allow_worst: how far, in points of 100, the worst picture may be off in reduced precision; None for the limits.
        target: which engines to build.
        engine: how to build them.
    """

    checkpoint: Path
    folder: Path | None = None
    with_experts: bool = False
    half_weights: bool = False
    force: bool = False
    fp16: bool = False
    int8: bool = False
    calib_data: str | None = None
    calib_method: Method = Method.percentile
    calib_cache: Path | None = None
    guard_data: str | None = None
    max_srocc_drop: float = DEFAULT_DROP
    allow_worst: float | None = None
    target: Target = "auto"
    engine: EngineOptions = field(default_factory=EngineOptions)


@dataclass(frozen=True)
class _Plan:
    """One ONNX file to come."""

    name: str  # between the checkpoint's stem and .onnx
    precision: str
    flavor: Flavor | Literal[""] = ""
    engine: str = ""  # suffix of the engine made from it

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.precision} {self.flavor}".strip()


def export_checkpoint(request: ExportRequest, progress: Progress = lambda done, total, text: None) -> ExportResult:
    """Exports, checks and only then puts each file in place.

    A reduced precision that would rank pictures differently is not written, and does not stop the others: the result
    says which.

    Args:
        request: what to do.
        progress: called with steps done, steps in all (0 when not known) and what is done.

    Raises:
        CheckpointError, UsageError, DatasetError: something that was named cannot be used; before anything is written.
        MissingError: a builder that was asked for is not here; before anything is written.
        ParityError: the FP32 graph is off, or has no numbers for the calibration pictures; nothing later is written.
        EngineError: TensorRT does not build an engine; the ONNX files are there.
        WriteError: a file cannot be written.
    """
    return _Export(request, progress).run()


class _Export:
    """The state of one export."""

    def __init__(self, request: ExportRequest, progress: Progress) -> None:
        self.request, self.progress = request, progress
        self.began = time.monotonic()
        self.notes: list[str] = []
        self.artifacts: list[Artifact] = []
        self.refused: list[Refusal] = []
        self.guard: Guard | None = None  # one for all precisions: they have the same FP32 graph and pictures
        self.earlier: dict[str, GuardResult] = {}  # by precision, for its other flavour
        self.reference: dict[str, Scores] = {}  # of the FP32 graph, by sha256 of pictures that it was run on already
        self.folder = request.checkpoint.parent if request.folder is None else request.folder
        self.plans = [_Plan("", "fp32", engine="fp32")]
        if request.fp16:
            self.plans.append(_Plan(".fp16", "fp16", engine="fp16"))
        if request.int8:
            self.plans.append(_Plan(".int8", "int8", "cpu"))
            self.plans.append(_Plan(".int8.tensorrt", "int8", "tensorrt", engine="int8"))
        self.builder = builder_for(request.target, request.engine)
        if self.builder is None and request.target == "auto":
            files = [self._path(f"{plan.name}.onnx").name for plan in self.plans if plan.engine]
            command = " ".join(f"--onnx {shlex.quote(name)}" for name in files)
            self.notes.append(f"No TensorRT here, so no engine. On the device: lifeiqa-export {command}")
        self._refuse_existing()

    def run(self) -> ExportResult:
        request = self.request
        self.progress(0, 0, "reading the checkpoint")
        checkpoint = load_checkpoint(request.checkpoint)
        calibration, guards = self._pictures(checkpoint)
        self.progress(0, 0, "tracing the network")
        model = onnx_file.trace(checkpoint, request.with_experts)
        statistics, provenance = None, None
        if request.int8:
            statistics, provenance = self._statistics(model, checkpoint, calibration)
        check = ExportCheck(checkpoint, request.with_experts)
        try:
            for plan in self.plans:
                self._write(plan, checkpoint, model, check, guards, statistics, provenance)
            if self.builder is not None:
                refused = {refusal.path for refusal in self.refused}
                for plan in self.plans:
                    if plan.engine and self._path(f"{plan.name}.onnx") not in refused:
                        self._build(plan)
        except (ParityError, EngineError) as error:
            written = ", ".join(str(artifact.path) for artifact in self.artifacts)
            raise type(error)(f"{error} Written before: {written}." if written else str(error)) from error
        return ExportResult(
            tuple(self.artifacts),
            time.monotonic() - self.began,
            tuple(self.notes),
            parameters_of(checkpoint.config),
            tuple(self.refused),
        )

    def _path(self, suffix: str) -> Path:
        return self.folder / f"{self.request.checkpoint.stem}{suffix}"

    def _refuse_existing(self) -> None:
        source = self.request.checkpoint
        cache = self.request.calib_cache
        for folder in (self.folder, *([] if cache is None else [cache.parent])):
            require_writable(folder)
        targets = [self._path(f"{plan.name}.onnx") for plan in self.plans]
        if self.builder is not None:
            targets += [self._path(f".{plan.engine}.engine") for plan in self.plans if plan.engine]
        if any(target.resolve() == source.resolve() for target in targets):
            raise UsageError(f"{source} would be overwritten by its own export; rename the checkpoint, or add -o DIR.")
        present = [target for target in targets if os.path.lexists(target)]
        if present and not self.request.force:
            raise UsageError(f"{present[0]} is there already. Add --force to replace it, or -o DIR to write elsewhere.")

    def _pictures(self, checkpoint: Checkpoint) -> tuple[PictureSet | None, PictureSet | None]:
        """The pictures for ranges, and those to measure precision on. Read before anything else takes minutes."""
        request, spec = self.request, checkpoint.preprocess
        if not (request.fp16 or request.int8):
            return None, None
        cached = request.calib_cache is not None and request.calib_cache.exists()
        if request.int8 and request.calib_data is None and not cached:
            raise UsageError(
                "INT8 needs pictures like those the model will see, to measure ranges on: add --calib-data with a "
                "folder, a list, a CSV file or NAME=PATH of a data set (or --calib-cache with ranges from elsewhere)."
            )

        def read(argument: str, what: str) -> PictureSet:
            found = named_pictures(argument, spec, lambda done, total: self.progress(done, total, what))
            self.notes.extend(f"{argument}: {warning}" for warning in found.warnings)
            return found

        calibration = read(request.calib_data, "reading calibration pictures") if request.calib_data else None
        if request.guard_data is not None:
            return calibration, read(request.guard_data, "reading the guard's pictures")
        return calibration, calibration or held_out_set(spec)

    def _statistics(
        self, model: onnx.ModelProto, checkpoint: Checkpoint, pictures: PictureSet | None
    ) -> tuple[Statistics, dict[str, Any]]:
        request = self.request
        key = CacheKey.of(model, checkpoint.preprocess, request.calib_method, pictures)
        cache = request.calib_cache
        if cache is not None and cache.exists():
            statistics, provenance = read_cache(cache, key)
            self.notes.append(f"ranges come from {cache}")
            return statistics, provenance
        assert pictures is not None
        statistics, scores = measure_statistics(
            model, pictures, request.calib_method, lambda done, total: self.progress(done, total, "measuring ranges")
        )
        self.reference[pictures.sha256] = scores
        provenance = {**pictures.provenance(), "method": request.calib_method.value}
        if cache is not None:
            write_cache(cache, key, statistics, provenance)
        return statistics, provenance

    def _write(
        self,
        plan: _Plan,
        checkpoint: Checkpoint,
        model: onnx.ModelProto,
        check: ExportCheck,
        pictures: PictureSet | None,
        statistics: Statistics | None,
        provenance: dict[str, Any] | None,
    ) -> None:
        request, began = self.request, time.monotonic()
        halved = request.half_weights and plan.precision == "fp32"
        manifest = onnx_file.build_manifest(checkpoint, request.checkpoint.stem, halved)
        result, slower = None, None
        graph = onnx_file.trace(checkpoint, request.with_experts, half_weights=True) if halved else model
        target, limit = self._path(f"{plan.name}.onnx"), self._limit(plan)
        if plan.precision != "fp32":
            assert pictures is not None
            result, slower = self._search_precision(plan, model, pictures, statistics, manifest.scale.span)
            if result.violations:
                self.refused.append(Refusal(target, plan.title, "; ".join(result.violations), result))
                return
            graph = result.model
            manifest = replace(
                manifest,
                precision=plan.precision,
                weights=plan.precision,
                flavor=plan.flavor,
                kept=result.kept,
                calibration=provenance if plan.precision == "int8" else None,
                guard={
                    "pictures": pictures.name,
                    "count": result.agreement.count,
                    "srocc": result.agreement.srocc,
                    "worst": result.agreement.worst,
                    "label_drop": result.label_drop,
                    "allowed_worst": request.allow_worst,
                },
            )
        self.progress(0, 0, f"writing {target.name}")
        try:
            with atomic_path(target) as temporary:
                onnx_file.write(graph, manifest, temporary)
                self.progress(0, 0, f"checking {target.name} against PyTorch")
                agreement = check(temporary, limit)
        except ParityError as error:
            if result is None:
                raise
            reason = str(error)
            if plan.precision == "int8" and provenance is not None and provenance["crop_count"] < RECOMMENDED_CROPS:
                reason += (
                    f" Its ranges come from {provenance['crop_count']} crops; they need {RECOMMENDED_CROPS} or more."
                )
            self.refused.append(Refusal(target, plan.title, reason))
            return
        seconds = time.monotonic() - began
        size = target.stat().st_size
        outputs = onnx_file.outputs_of(checkpoint, request.with_experts)
        self.artifacts.append(Artifact(target, size, manifest, seconds, outputs, agreement, limit, result, slower))

    def _search_precision(
        self, plan: _Plan, model: onnx.ModelProto, pictures: PictureSet, statistics: Statistics | None, span: float
    ) -> tuple[GuardResult, float | None]:
        what = plan.title
        fixed: Collection[str] = ()
        nodes = [node.name for node in weighted_nodes(model)]
        self.progress(0, 0, f"{what}: scoring the guard's pictures")
        if self.guard is None:
            self.guard = Guard(model, pictures, span, self.reference.get(pictures.sha256))
        if plan.precision == "fp16":
            sensitive = sensitive_nodes(model, np.concatenate([cut[:1] for cut in pictures.crops[:8]]))

            def build(kept: frozenset[str]) -> onnx.ModelProto:
                return to_half(model, kept | sensitive)
        else:
            fixed = large_nodes(model)

            def build(kept: frozenset[str]) -> onnx.ModelProto:
                assert statistics is not None and plan.flavor
                return quantize(model, statistics, [name for name in nodes if name not in kept], plan.flavor)

        limit = self._limit(plan)
        if self.request.allow_worst is None:
            limit = guard_limit(plan.precision, limit)
        result = self.guard.search(
            build,
            nodes,
            limit,
            fixed,
            self.earlier.get(plan.precision),
            lambda done, total, text: self.progress(done, total, f"{what}: {text}"),
        )
        if result.ranking is not None:
            self.earlier[plan.precision] = result
        if not result.kept or plan.flavor != "cpu":
            return result, None
        small = set(without_islands(model, [name for name in nodes if name not in result.kept]))
        islands = [name for name in nodes if name not in small and name not in result.kept]
        result = replace(result, kept=(*result.kept, *islands))
        return result, relative_time(result.model, result.plain, pictures.crops[0][:1])

    def _limit(self, plan: _Plan) -> Limit:
        """What the file has to keep against PyTorch."""
        halved = self.request.half_weights and plan.precision == "fp32"
        limit = limit_for(plan.precision, "fp16" if halved else plan.precision)
        if plan.precision == "int8":
            limit = with_drop(limit, self.request.max_srocc_drop)
        if plan.precision != "fp32" and self.request.allow_worst is not None:
            limit = replace(limit, worst=self.request.allow_worst / 100)
        return limit

    def _build(self, plan: _Plan) -> None:
        source, target = self._path(f"{plan.name}.onnx"), self._path(f".{plan.engine}.engine")
        made = next(artifact for artifact in self.artifacts if artifact.path == source)
        assert self.builder is not None
        self.artifacts.append(
            build_artifact(
                source, target, made.manifest, made.outputs, self.builder, self.request.engine, self.progress
            )
        )
