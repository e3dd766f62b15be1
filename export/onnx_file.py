"""Writes the ONNX file: trace, metadata, half-precision storage."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxscript
import torch
from onnx import helper, numpy_helper
from onnxscript import optimizer

from lifeiqa.calibration.graph import weighted_nodes
from lifeiqa.export.graph import ExportGraph
from lifeiqa.export.simplify import fold_scale_into_stem
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.runtime.backends.base import TensorInfo
from lifeiqa.runtime.backends.engine_info import MAX_BATCH
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.manifest import METADATA_KEY, Manifest

OPSET = 18
MIN_HALVED_SIZE = 2048  # values; biases, means and adjacencies stay whole: they are nothing to the file's size
_TOOLS = ("torch", "timm", "onnx", "onnxscript", "onnxruntime")


def trace(checkpoint: Checkpoint, with_experts: bool = False, half_weights: bool = False) -> onnx.ModelProto:
    """Exports the network with a dynamic batch: `image` (batch, S, S, 3) uint8 -> `score` (batch,).

    Args:
        checkpoint: what to export.
        with_experts: adds the output `expert_weights` (batch, N, E).
        half_weights: stores large matrices and kernels in half precision, widened by a Cast that engines fold away
            when they load. Nothing is lost where the checkpoint itself was stored in half precision.
    """
    side = checkpoint.preprocess.crop_size
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    names = ["score", "expert_weights"] if with_experts else ["score"]
    with _quiet():
        program = torch.onnx.export(
            ExportGraph(checkpoint, with_experts, folded=not half_weights),
            (example,),
            input_names=["image"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            optimize=not half_weights,
            custom_translation_table={torch.ops.aten.sort.stable: _stable_sort},
        )
    assert program is not None
    if half_weights:
        # The exporter's optimiser folds batch norm into the kernels before it, and folded kernels no longer are the
        # numbers that the checkpoint holds in half precision. Constants alone are folded here; engines do the rest.
        for simplify in (optimizer.inline, optimizer.fold_constants, optimizer.remove_unused_nodes):
            simplify(program.model)
    model = program.model_proto
    if half_weights:
        _store_half(model)
    else:
        fold_scale_into_stem(model)
    _name_layers(model)
    _forget_source(model)
    return model


def _stable_sort(x: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    """ONNX for `aten.sort.stable`, which PyTorch's exporter lacks: TopK puts the lower of two equal indices first."""
    op: Any = onnxscript.opset18
    last = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
    return op.TopK(x, last, axis=dim, largest=int(descending), sorted=1)


def build_manifest(checkpoint: Checkpoint, name: str, half_weights: bool) -> Manifest:
    """What the artifact of a checkpoint says about itself."""
    return Manifest(
        name=name,
        version=version("lifeiqa"),
        checkpoint_sha256=checkpoint.sha256,
        precision="fp32",
        weights="fp16" if half_weights else "fp32",
        preprocess=checkpoint.preprocess,
        scale=checkpoint.scale.artifact_scale(),
        architecture=checkpoint.config.to_dict(),
        training=checkpoint.training,
        tools={tool: version(tool) for tool in _TOOLS},
    )


def outputs_of(checkpoint: Checkpoint, with_experts: bool) -> tuple[TensorInfo, ...]:
    """What a traced graph of this checkpoint puts out."""
    score = TensorInfo("score", "float32", (None,))
    if not with_experts:
        return (score,)
    config = checkpoint.config
    return (score, TensorInfo("expert_weights", "float32", (None, config.queries, config.experts)))


def write(model: onnx.ModelProto, manifest: Manifest, path: Path) -> None:
    """Puts the manifest into the metadata, checks the model and writes it to `path`, a temporary one (see `files`).

    Raises:
        UsageError: the model exceeds what one ONNX file can hold.
    """
    del model.metadata_props[:]
    helper.set_model_props(model, {METADATA_KEY: manifest.to_json()})
    model.producer_name, model.producer_version = "lifeiqa", manifest.version
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise UsageError(
            f"{manifest.name} has {model.ByteSize() / 1e9:.1f} GB, above the 2 GB that one ONNX file holds."
        )
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _store_half(model: onnx.ModelProto) -> None:
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.ndim > 1 and values.size >= MIN_HALVED_SIZE:
            name = tensor.name
            half = values.astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            casts.append(
                helper.make_node("Cast", [tensor.name], [name], name=f"{name}_widen", to=onnx.TensorProto.FLOAT)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _name_layers(model: onnx.ModelProto) -> None:
    """Calls weighted nodes what the checkpoint calls their layers: in manifests, tables and engines people read it."""
    taken = {node.name for node in model.graph.node}
    for node in weighted_nodes(model):
        name = node.input[1].removesuffix(".weight")
        if name == node.input[1] and ".weights." not in name:  # a transposed copy of the weight; its module is known
            scopes = [p.value for p in node.metadata_props if p.key == "pkg.torch.onnx.name_scopes"]
            name = ast.literal_eval(scopes[0])[-2] if scopes else node.name  # the last one is the operator
        name = name.removeprefix("model.").removeprefix("head.")
        if name not in taken:
            taken.add(name)
            node.name = name


def _forget_source(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes about source lines and files: no user needs it, and it doubles small graphs."""
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for value in (*graph.value_info, *graph.input, *graph.output):
            if hasattr(value, "metadata_props"):
                del value.metadata_props[:]
    del model.graph.metadata_props[:]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's log and deprecation notices off the terminal; its errors still raise."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
