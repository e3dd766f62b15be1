"""Rounds weights to the int8 grid so that flat regions stay flat, and corrects what rounding does on average.

The kernels of a quality network's first layers are derivatives: their sum is almost zero, so that they see noise, edges
and blocking and nothing else. Rounding each weight to its nearest grid point changes that sum, and then brightness
leaks into what should be detail. So for kernels with an extent the sum is kept, to half a grid step, by rounding those
weights the other way whose rounding was the closest call. Where the covariance of a kernel's inputs is known, single
weights and pairs of them are then moved by a step for as long as that brings the kernel's output nearer to what it
was (the layer-wise objective of Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020).
What is left changes the mean of a channel; as input means are known, that goes into the bias (Nagel et al., "Data-Free
Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from lifeiqa.calibration.graph import consumers, initializers, out_axis, store, weighted_nodes
from lifeiqa.calibration.statistics import Statistics

GRID = 127  # int8, symmetric
DAMPING = 1e-4  # of the mean variance of a kernel's inputs
MAX_MOVES = 500  # of a kernel's weights; a few dozen are enough
MAX_PAIRS = 2_000_000  # of moves that are looked at together, to bound memory

Array = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]


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
            if (covariance := statistics.covariances.get(node.name)) is not None:
                on_grid = fit_kernels(weight, on_grid, covariance)
        else:
            on_grid = round_rows(weight.T).T if out_axis(node) else round_rows(weight)
        bias = _bias_of(node, constants, readers)
        if bias is not None:
            error = _mean_error(node, on_grid - weight, statistics.means[node.input[0]])
            store(bias, numpy_helper.to_array(bias) - error)
        store(constants[node.input[1]], on_grid)
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


def fit_kernels(weight: Array, on_grid: Array, covariance: Array) -> Array:
    """Moves rounded kernels along their grids until no single weight and no pair brings their output nearer.

    The distance is the mean square of what rounding changes in the output, but for its mean: e H e for an error e of
    the weights and the covariance H of their inputs. The largest weights of a channel stay, and with them its scale.

    Args:
        weight: (O, I, kH, kW) as it was.
        on_grid: the same, rounded.
        covariance: (K, K) of the K = I * kH * kW inputs of a kernel.
    """
    return _fit_kernels(weight.tobytes(), on_grid.tobytes(), covariance.tobytes(), weight.shape)


@functools.lru_cache(maxsize=256)  # the guard builds the same graph many times, but for a few nodes
def _fit_kernels(weight: bytes, on_grid: bytes, covariance: bytes, shape: tuple[int, ...]) -> Array:
    outputs, inputs = shape[0], int(np.prod(shape[1:]))
    exact, rounded = (np.frombuffer(data, np.float32).reshape(outputs, inputs) for data in (weight, on_grid))
    h = np.frombuffer(covariance, np.float32).reshape(inputs, inputs).astype(np.float64)
    scales = _scales(exact).astype(np.float64)
    goal, steps = exact / scales, np.round(rounded / scales)
    at_once = max(1, MAX_PAIRS // (4 * inputs * inputs))
    for start in range(0, outputs, at_once):
        rows = slice(start, start + at_once)
        steps[rows] = _fit_steps(goal[rows], steps[rows], h)
    return (steps * scales).astype(np.float32).reshape(shape)


def _fit_steps(goal: Array64, start: Array64, h: Array64) -> Array64:
    """Grid points (O, K) of kernels that share inputs: from weights in steps, where to start, and covariance (K, K)."""
    steps, count = start.copy(), len(h)
    h = h + np.eye(count) * (DAMPING * np.trace(h) / count)  # inputs that never varied may do so elsewhere
    ways = np.repeat([1.0, -1.0], count)  # a move is one step of a weight, up or down
    cross = 2 * np.outer(ways, ways) * np.tile(h, (2, 2))  # what two moves add to the distance beside their own parts
    same = np.tile(np.eye(count, dtype=bool), (2, 2))
    movable = np.abs(goal) < np.abs(goal).max(axis=1, keepdims=True)
    for _ in range(MAX_MOVES):
        slope = 2 * (goal - steps) @ h
        single = np.tile(np.diag(h), 2) - ways * np.tile(slope, 2)  # (O, 2 K)
        single[~np.tile(movable, 2) | (np.abs(np.tile(steps, 2) + ways) > GRID)] = np.inf
        pairs = single[:, :, None] + single[:, None] + cross
        pairs[:, same] = np.inf
        best, flat = single.argmin(axis=1), pairs.reshape(len(steps), -1).argmin(axis=1)
        moved = False
        for o, (one, two) in enumerate(zip(best, flat, strict=True)):
            first, second = divmod(int(two), 2 * count)
            if min(single[o, one], pairs[o, first, second]) >= -1e-9 * h.max():
                continue
            for move in (int(one),) if single[o, one] <= pairs[o, first, second] else (first, second):
                steps[o, move % count] += ways[move]
            moved = True
        if not moved:
            break
    return steps


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
    return means @ (change if out_axis(node) else change.T)


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
