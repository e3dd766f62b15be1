"""What quantisation has to know about a graph's activations, measured on pictures."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import EntropyCalibrater, MinMaxCalibrater, PercentileCalibrater

from lifeiqa.calibration.graph import (
    WEIGHTED_OPS,
    Scores,
    initializers,
    residual_adds,
    session_of,
    split_scores,
    weighted_nodes,
)
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import ParityError

MAX_KERNEL_INPUTS = 160
POSITIONS = 1000  # of a kernel, that covariances are measured at in each batch
BATCH = 4  # crops at a time: every activation of the network is held for these
SAMPLE = 100_000  # values of an activation, of each batch, that its percentiles are taken from


class Method(str, Enum):
    """How a range is chosen from what was seen."""

    minmax = "minmax"
    entropy = "entropy"
    percentile = "percentile"


PERCENTILE = 99.99
_CALIBRATORS: dict[Method, Callable[..., Any]] = {
    Method.minmax: MinMaxCalibrater,
    Method.entropy: partial(EntropyCalibrater, num_bins=512, num_quantized_bins=128),
    Method.percentile: partial(PercentileCalibrater, percentile=PERCENTILE, symmetric=False),
}


@dataclass(frozen=True)
class Statistics:
    """What was seen of activations, by tensor name.

    Attributes:
        ranges: lowest and highest value that quantisation must represent, of the inputs of every weighted node (Conv,
            MatMul, Gemm with constant weights) and of every residual addition.
        means: of the inputs of weighted nodes, the mean of each channel, (C,).
        covariances: by node name, of convolutions without groups and with `MAX_KERNEL_INPUTS` at most: (K, K) of the
            K = C * kH * kW inputs of a kernel, in that order. Those are the first layers, where rounding weights costs
            most.
    """

    ranges: dict[str, tuple[float, float]]
    means: dict[str, npt.NDArray[np.float32]]
    covariances: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, crops: UInt8Array) -> None:
        self.left: Iterator[dict[str, UInt8Array]] = iter([{"image": crops}])

    def get_next(self) -> dict[str, UInt8Array] | None:
        return next(self.left, None)


def measure_statistics(
    model: onnx.ModelProto,
    pictures: PictureSet,
    method: Method,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Statistics, Scores]:
    """Runs the FP32 graph over all crops, with ONNX Runtime's calibrators, and gives its scores too.

    Raises:
        ParityError: an activation is no number, so that no range can hold it.
    """
    crops = np.concatenate(pictures.crops)
    batches = [crops[i : i + BATCH] for i in range(0, len(crops), BATCH)]
    operators = [*WEIGHTED_OPS, "Add"] if residual_adds(model) else list(WEIGHTED_OPS)
    adds = {name for node, _ in residual_adds(model).values() for name in node.input}
    moments = _Moments(model, len(crops))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path, observed = Path(folder) / "model.onnx", Path(folder) / "observed.onnx"
        path.write_bytes(model.SerializeToString())
        calibrator = _CALIBRATORS[method](path, operators, str(observed))
        _observe_only(calibrator, {*moments.tensors, *adds})
        calibrator.augment_graph()
        graph = onnx.load(observed)
        theirs = [output.name for output in graph.graph.output]
        moments.observe(graph)
        # Not for entropy: the range that it finds for a clipped activation can be another third with fewer values.
        shared = _Shared(session_of(graph), moments, theirs, thinned=method is Method.percentile)
        calibrator.infer_session = shared
        for done, batch in enumerate(batches, start=1):
            calibrator.collect_data(_Batches(batch))
            progress(done, len(batches))
        found = calibrator.compute_data()
    means, covariances = moments.result()
    ranges = {
        name: (float(np.min(data.range_value[0])), float(np.max(data.range_value[1]))) for name, data in found.items()
    }
    for name, (low, high) in ranges.items():
        _require_numbers(np.array([low, high]), name)
    return Statistics(ranges, means, covariances), split_scores(np.concatenate(shared.scores), pictures.crops)


class _Shared:
    """A session for the calibrator and the moments at once: each batch is inferred once, and each sees its own outputs.

    Where it is thinned, large outputs are every n-th value of them only for the calibrator: a histogram of all takes
    longer than to infer. The steps are odd, so that no row, column or channel of a map is left out.
    """

    def __init__(self, session: Any, moments: _Moments, names: list[str], thinned: bool) -> None:
        """`names` are the outputs for the calibrator, the first ones of the session's."""
        self.session, self.moments, self.names, self.thinned = session, moments, names, thinned
        self.scores: list[npt.NDArray[np.float32]] = []  # of each batch

    def get_inputs(self) -> Any:
        """As of the session."""
        return self.session.get_inputs()

    def get_outputs(self) -> list[Any]:
        """Those for the calibrator."""
        return list(self.session.get_outputs()[: len(self.names)])

    def run(self, names: None, inputs: dict[str, Any]) -> list[npt.NDArray[Any]]:
        """Outputs for the calibrator, which never names them."""
        wanted = list(dict.fromkeys((*self.names, *self.moments.outputs)))
        values = dict(zip(wanted, self.session.run(wanted, inputs), strict=True))
        self.moments.see(values, len(inputs["image"]))
        self.scores.append(values["score"])
        found = [values[name] for name in self.names]
        return [value.reshape(-1)[:: (value.size // SAMPLE) | 1] for value in found] if self.thinned else found


def _observe_only(calibrator: Any, wanted: set[str]) -> None:
    """Leaves out what ONNX Runtime would look at too, such as outputs of convolutions: most of the time goes there."""
    every, infos = calibrator.select_tensors_to_calibrate(calibrator.model)
    calibrator.select_tensors_to_calibrate = lambda model: (every & wanted, infos)


class _Moments:
    """`Statistics.means` and `Statistics.covariances`, from batch to batch.

    Means are over batch and positions: (C,) of (B, C, H, W) and of (..., C) alike. Covariances are measured at random
    positions, the same on every run.
    """

    def __init__(self, model: onnx.ModelProto, crops: int) -> None:
        """Of the inputs of a graph's weighted nodes, over so many crops."""
        nodes, constants, ranks = weighted_nodes(model), initializers(model), _ranks(model)
        self.axes: dict[str, list[int]] = {}
        for node in nodes:
            rank = ranks[node.input[0]]
            self.axes[node.input[0]] = [0, *range(2, rank)] if node.op_type == "Conv" else list(range(rank - 1))
        found = (_Kernel.of(node, constants[node.input[1]].dims) for node in nodes)
        self.kernels = [kernel for kernel in found if kernel is not None]
        self.crops, self.rng = crops, np.random.default_rng(0)
        self.sums: dict[str, npt.NDArray[np.float64]] = {}
        self.firsts, self.seconds = dict[str, Any](), dict[str, Any]()

    @property
    def tensors(self) -> list[str]:
        """The inputs."""
        return list(self.axes)

    @property
    def outputs(self) -> list[str]:
        """What `see` needs of a graph that `observe` had."""
        maps = dict.fromkeys(kernel.tensor for kernel in self.kernels)
        return [*(f"{tensor}__mean" for tensor in self.axes), *maps]

    def observe(self, model: onnx.ModelProto) -> None:
        """Adds outputs to a graph, behind those that it has."""
        graph = model.graph
        for tensor, axes in self.axes.items():
            constant, mean = f"{tensor}__axes", f"{tensor}__mean"
            graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), constant))
            graph.node.append(helper.make_node("ReduceMean", [tensor, constant], [mean], keepdims=0))
        present = {output.name for output in graph.output}
        for name in self.outputs:
            if name not in present:
                graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))

    def see(self, values: dict[str, npt.NDArray[Any]], crops: int) -> None:
        """Takes in the outputs of a batch of crops."""
        share = crops / self.crops
        for tensor in self.axes:
            value = values[f"{tensor}__mean"]
            _require_numbers(value, tensor)
            self.sums[tensor] = self.sums.get(tensor, 0.0) + value.astype(np.float64) * share
        for kernel in self.kernels:
            inputs = kernel.inputs(values[kernel.tensor], self.rng)
            self.firsts[kernel.node] = self.firsts.get(kernel.node, 0.0) + share * inputs.mean(axis=0)
            self.seconds[kernel.node] = self.seconds.get(kernel.node, 0.0) + share * (inputs.T @ inputs) / len(inputs)

    def result(self) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, npt.NDArray[np.float32]]]:
        """Means by tensor, covariances by node."""
        means = {tensor: value.astype(np.float32) for tensor, value in self.sums.items()}
        firsts, seconds = self.firsts, self.seconds
        return means, {
            node: (second - np.outer(firsts[node], firsts[node])).astype(np.float32) for node, second in seconds.items()
        }


@dataclass(frozen=True)
class _Kernel:
    """What a convolution without groups reads at one position.

    Attributes:
        node, tensor: names of the convolution and of its input.
        extent, strides: rows and columns.
        pads: top, left, bottom, right.
    """

    node: str
    tensor: str
    extent: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]

    @classmethod
    def of(cls, node: onnx.NodeProto, shape: Sequence[int]) -> _Kernel | None:
        """None where the node, with weights of a shape, is no such convolution or has more than `MAX_KERNEL_INPUTS`."""
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type != "Conv" or given.get("group", 1) != 1 or len(shape) != 4:
            return None
        if np.prod(shape[1:]) > MAX_KERNEL_INPUTS or any(n != 1 for n in given.get("dilations", ())):
            return None
        if given.get("auto_pad", b"NOTSET") != b"NOTSET":
            return None
        return cls(
            node.name,
            node.input[0],
            (shape[2], shape[3]),
            tuple(given.get("strides", (1, 1))),
            tuple(given.get("pads", (0, 0, 0, 0))),
        )

    def inputs(self, values: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """(`POSITIONS`, C * kH * kW) of an input (B, C, H, W), at random positions."""
        top, left, bottom, right = self.pads
        padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
        (height, width), (down, across) = self.extent, self.strides
        rows, columns = (padded.shape[2] - height) // down + 1, (padded.shape[3] - width) // across + 1
        which = rng.integers(len(padded), size=POSITIONS)
        y, x = rng.integers(rows, size=POSITIONS) * down, rng.integers(columns, size=POSITIONS) * across
        found = np.empty((POSITIONS, padded.shape[1], height, width), np.float64)
        for i in range(height):
            for j in range(width):
                found[:, :, i, j] = padded[which, :, y + i, x + j]
        return found.reshape(POSITIONS, -1)


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: len(value.type.tensor_type.shape.dim) for value in values}


def _require_numbers(values: npt.NDArray[Any], tensor: str) -> None:
    if not np.isfinite(values).all():
        raise ParityError(
            f"The activation {tensor} is not a number on these pictures, so that it has no range. The checkpoint "
            "itself is broken there: score the same pictures with it in FP32."
        )
