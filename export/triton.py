"""Puts exported models into a Triton Inference Server model repository."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lifeiqa.runtime.backends.base import TensorInfo
from lifeiqa.runtime.backends.engine_info import DEFAULT_BATCH, EngineInfo, read_sidecar
from lifeiqa.runtime.errors import ManifestError, UsageError
from lifeiqa.runtime.files import atomic_path, atomic_text
from lifeiqa.runtime.manifest import Manifest

if TYPE_CHECKING:
    from lifeiqa.export.artifact import ExportResult

QUEUE_DELAY_US = 1000  # a crop takes several times as long, so that waiting for others is cheap
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


class _Kind(NamedTuple):
    platform: str
    backend: str
    file: str


_KINDS = {
    ".onnx": _Kind("onnxruntime_onnx", "onnxruntime", "model.onnx"),
    ".engine": _Kind("tensorrt_plan", "tensorrt", "model.plan"),
}


def write_triton_repository(
    artifact: Path,
    repository: Path,
    manifest: Manifest,
    outputs: Sequence[TensorInfo],
    batch: tuple[int, int, int] | None = None,
    force: bool = False,
) -> Path:
    """Writes `<repository>/<model>/config.pbtxt` and `<repository>/<model>/1/model.onnx` or `model.plan`.

    The model is called as `model_name` says. Its input is `image` (batch, S, S, 3) uint8, as in the artifact; its
    `score` is (batch, 1), because Triton knows no tensor that is all batch. How to cut crops, and what a score means,
    stand as JSON in the configuration's parameters `lifeiqa_preprocess` and `lifeiqa_scale`, for clients to ask for.

    Args:
        artifact: an exported ONNX file, or an engine with its sidecar.
        repository: Triton's `--model-repository`; made where it is not there.
        manifest: of the artifact.
        outputs: of the artifact, the batch first in each shape.
        batch: smallest, preferred and largest batch that Triton may form; None: an engine's own, or `DEFAULT_BATCH`.
        force: replace a model of the same name.

    Returns:
        The model's folder.

    Raises:
        UsageError: the artifact is missing or nothing that Triton runs, or a model of its name is there already.
        ManifestError: it is an engine without its sidecar.
        WriteError: the repository cannot be written.
    """
    kind = _KINDS.get(artifact.suffix)
    if kind is None:
        raise UsageError(f"{artifact} is no model that Triton runs; name an exported file, {' or '.join(_KINDS)}.")
    if not artifact.is_file():
        raise UsageError(f"There is no {artifact}. Export it: lifeiqa-export --ckpt best.pt")
    name = model_name(artifact, manifest)
    if not name.isprintable():
        raise UsageError(f"Triton cannot serve a model called {name!r}; rename {str(artifact)!r}.")
    engine = read_sidecar(artifact)[1] if artifact.suffix == ".engine" else None
    if engine is not None:
        _require_servable(artifact, engine)
    folder = repository / name
    _require_free(folder, force)
    # First the configuration: a server that looks in between finds no version to load, rather than one to guess about.
    with atomic_text(folder / "config.pbtxt") as file:
        file.write(_config(name, kind, manifest, outputs, batch or (engine.batch if engine else DEFAULT_BATCH), engine))
    with atomic_path(folder / "1" / kind.file) as temporary:
        shutil.copyfile(artifact, temporary)
    stale = next(other.file for other in _KINDS.values() if other is not kind)
    with contextlib.suppress(OSError):  # Triton opens the file of the platform it is told; another only takes room
        (folder / "1" / stale).unlink()
    return folder


def write_repository(result: ExportResult, repository: Path, batch: tuple[int, int, int], force: bool) -> ExportResult:
    """Puts what an export made into a model repository, and says so in the result's notes.

    An engine goes before the ONNX file that it was built from. Engines of TensorRT for RTX are left out: Triton cannot
    load them. Nothing is written unless everything can be.

    Raises:
        UsageError, ManifestError, WriteError: see `write_triton_repository`.
    """
    chosen = {model_name(a.path, a.manifest): a for a in result.artifacts if a.engine is None}
    engines = [a for a in result.artifacts if a.engine is not None and a.engine.builder == "tensorrt"]
    chosen |= {model_name(a.path, a.manifest): a for a in engines}
    notes = list(result.notes)
    for name, artifact in chosen.items():
        _require_free(repository / name, force)
        if artifact.engine is not None:
            _require_servable(artifact.path, artifact.engine)
    for artifact in chosen.values():
        folder = write_triton_repository(artifact.path, repository, artifact.manifest, artifact.outputs, batch, force)
        notes.append(f"Triton model: {folder}")
    if left := [a.path.name for a in result.artifacts if a.engine and a.engine.builder == "tensorrt_rtx"]:
        notes.append(f"not in {repository}, because Triton loads no engines of TensorRT for RTX: {', '.join(left)}")
    return replace(result, notes=tuple(notes))


def model_name(artifact: Path, manifest: Manifest) -> str:
    """What Triton calls it, an engine like the ONNX file it was built from: best.fp16.engine -> best_fp16."""
    stem = artifact.stem.removesuffix(f".{manifest.flavor}").removesuffix(f".{manifest.precision}")
    kind = {"fp32": "", "int8": f"_int8_{manifest.flavor}"}.get(manifest.precision, f"_{manifest.precision}")
    return stem.replace(".", "_") + kind.removesuffix("_cpu")


def _require_free(folder: Path, force: bool) -> None:
    if os.path.lexists(folder) and not force:
        raise UsageError(f"{folder} is there already. Add --force to replace it, or name another model repository.")


def _require_servable(artifact: Path, engine: EngineInfo) -> None:
    if engine.builder != "tensorrt":
        raise ManifestError(
            f"{artifact} was built with TensorRT for RTX, whose engines Triton does not load. Build one with TensorRT: "
            "lifeiqa-export --target tensorrt, or give Triton the ONNX file."
        )
    if engine.batch[0] > 1:
        raise ManifestError(
            f"{artifact} takes batches from {engine.batch[0]} crops up, but Triton may send a single one. Build it "
            f"with --batch 1,{engine.batch[1]},{engine.batch[2]}."
        )


def _config(
    name: str,
    kind: _Kind,
    manifest: Manifest,
    outputs: Sequence[TensorInfo],
    batch: tuple[int, int, int],
    engine: EngineInfo | None,
) -> str:
    """A ModelConfig message as text."""
    side = manifest.preprocess.crop_size
    if engine is not None:
        device, built = "KIND_GPU", f", compute capability {engine.compute_capability}, TensorRT {engine.version}"
    else:
        device, built = "KIND_CPU" if manifest.flavor == "cpu" else "KIND_AUTO", ""
    image = TensorInfo("image", "uint8", (None, side, side, 3))
    lines = [
        "# " + _escape(f"Written by lifeiqa {manifest.version}: {manifest.precision}{built}."),
        f"name: {_quote(name)}",
        f"platform: {_quote(kind.platform)}",
        f"backend: {_quote(kind.backend)}",
        f"max_batch_size: {batch[2]}",
        f"input [ {_tensor(image)} ]",
        *(f"output [ {_tensor(tensor)} ]" for tensor in outputs),
        f"instance_group [ {{ count: 1 kind: {device} }} ]",
    ]
    if batch[2] > 1:
        waiting = f"preferred_batch_size: [ {batch[1]} ] max_queue_delay_microseconds: {QUEUE_DELAY_US}"
        lines.append(f"dynamic_batching {{ {waiting} }}")
    for key, values in (
        ("lifeiqa_preprocess", manifest.preprocess.to_dict()),
        ("lifeiqa_scale", vars(manifest.scale)),
    ):
        text = _quote(json.dumps(values, sort_keys=True))
        lines.append(f"parameters {{ key: {_quote(key)} value {{ string_value: {text} }} }}")
    return "\n".join(lines) + "\n"


def _tensor(tensor: TensorInfo) -> str:
    """Without the batch axis, which Triton adds; where none is left, it shows one of size 1 that the model lacks."""
    dims = ", ".join(str(-1 if n is None else n) for n in tensor.shape[1:])
    shape = f"dims: [ {dims} ]" if dims else "dims: [ 1 ] reshape { shape: [ ] }"
    return f"{{ name: {_quote(tensor.name)} data_type: {_TYPES[tensor.dtype]} {shape} }}"


def _quote(text: str) -> str:
    return f'"{_escape(text)}"'


def _escape(text: str) -> str:
    """As in a string of protobuf's text format: bytes that are not plain ASCII in octal."""
    return "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:03o}" for b in text.encode())
