"""Rounds weights to the int8 grid so that flat regions stay flat, and corrects what rounding does on average.

The kernels of a quality network's first layers are derivatives: their sum is almost zero, so that they see noise, edges
and blocking and nothing else. Rounding each weight to its nearest grid point changes that sum, and then brightness
leaks into what should be detail. So for kernels with an extent the sum is kept, to half a grid step, by rounding those
weights the other way whose rounding was the closest call. What is left changes the mean of a channel; as input means
are known, that goes into the bias (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, section 4.2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from lifeiqa.calibration.graph import consumers, initializers, weighted_nodes
from lifeiqa.calibration.statistics import Statistics

GRID = 127  # int8, symmetric

Array = npt.NDArray[np.float32]


def round_weights(model: onnx.ModelProto, statistics: Statistics, nodes: Iterable[str]) -> onnx.ModelProto:
    """A copy of an FP32 graph whose weights, of the nodes named, lie on their int8 grids, one scale an output channel.

    The largest weight of each channel stays as it is, so that a quantiser finds the same scales and rounds nothing.
    """
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    constants, readers, wanted = initializers(rounded), consumers(rounded), set(nodes)
    for node in weighted_nodes(rounded):
        if node.name not in wanted:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        if node.op_type == "Conv":
            on_grid = round_kernels(weight)
        else:
            out_last = not (node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute))
            on_grid = round_rows(weight.T).T if out_last else round_rows(weight)
        bias = _bias_of(node, constants, readers)
        if bias is not None:
            error = _mean_error(node, on_grid - weight, statistics.means[node.input[0]])
            _store(bias, numpy_helper.to_array(bias) - error)
        _store(constants[node.input[1]], on_grid)
    return rounded


def round_rows(weight: Array) -> Array:
    """Rounds (O, ...) to the nearest point of each row's grid. Rows of zeros stay zero."""
    scale = _scales(weight)
    return (np.round(weight / scale) * scale).astype(np.float32)


def round_kernels(weight: Array) -> Array:
    """Rounds (O, I, kH, kW) to each output channel's grid and keeps the sum of every kH x kW kernel to half a step."""
    scale = _scales(weight)
    exact = (weight / scale).reshape(*weight.shape[:2], -1)  # (O, I, kH * kW)
    grid = np.round(exact)
    if exact.shape[2] > 1:
        excess = exact - grid  # what rounding took away
        missing = np.round(excess.sum(axis=2)).astype(int)  # whole steps, (O, I)
        for o, i in zip(*np.nonzero(missing), strict=True):
            direction = np.sign(missing[o, i])
            order = np.argsort(-direction * excess[o, i], kind="stable")
            movable = [k for k in order if abs(grid[o, i, k]) < GRID]
            grid[o, i, movable[: abs(missing[o, i])]] += direction
    return (grid.reshape(weight.shape) * scale).astype(np.float32)


def round_kernels_to_half(weight: Array) -> Array:
    """Rounds (O, I, kH, kW) to values of half precision, and what that takes from a kernel's sum goes to its smallest
    weight, where half precision is finest."""
    flat = weight.reshape(-1, weight.shape[2] * weight.shape[3])
    half = flat.astype(np.float16).astype(np.float64)
    rows, smallest = np.arange(len(flat)), np.abs(flat).argmin(axis=1)
    half[rows, smallest] += flat.astype(np.float64).sum(axis=1) - half.sum(axis=1)
    return half.astype(np.float16).astype(np.float32).reshape(weight.shape)


def _scales(weight: Array) -> Array:
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    return np.where(largest > 0, largest / GRID, 1.0).astype(np.float32)


def _mean_error(node: onnx.NodeProto, change: Array, means: Array) -> Any:
    """How much a change of the weights moves the mean of each output channel: (O,)."""
    if node.op_type == "Conv":
        per_input = change.sum(axis=(2, 3))  # (O, I / groups)
        groups = len(means) // per_input.shape[1]
        grouped = means.reshape(groups, -1)  # (G, I / G)
        return np.einsum("goi,gi->go", per_input.reshape(groups, -1, per_input.shape[1]), grouped).reshape(-1)
    return means @ (change if change.shape[0] == len(means) else change.T)


def _bias_of(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], readers: dict[str, list[onnx.NodeProto]]
) -> onnx.TensorProto | None:
    """The constant added to a node's output, if it serves nothing else."""
    if node.op_type != "MatMul":
        name = node.input[2] if len(node.input) > 2 else ""
    else:
        following = readers[node.output[0]]
        if len(following) != 1 or following[0].op_type != "Add":
            return None
        name = next((n for n in following[0].input if n in constants), "")
    bias = constants.get(name)
    return bias if bias is not None and len(bias.dims) == 1 and len(readers[name]) == 1 else None


def _store(tensor: onnx.TensorProto, values: Any) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), tensor.name))
