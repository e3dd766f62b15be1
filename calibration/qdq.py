"""Puts QuantizeLinear and DequantizeLinear nodes into an FP32 graph: INT8, in the flavour that an engine is good at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from lifeiqa.calibration.graph import (
    consumers,
    initializers,
    origin,
    out_axis,
    producers,
    replace_input,
    residual_adds,
    store,
    weighted_nodes,
    without_islands,
)
from lifeiqa.calibration.rounding import GRID, round_weights
from lifeiqa.calibration.statistics import Statistics

Flavor: TypeAlias = Literal["cpu", "tensorrt"]
FLAVORS: tuple[Flavor, ...] = ("cpu", "tensorrt")
MAX_PADDING_ERROR = 0.51  # grey levels of 255, at the border of a crop
MAX_BIAS = (2**31 - 1) / 1.0001  # in steps, so that rounding does not leave int32


def quantize(model: onnx.ModelProto, statistics: Statistics, nodes: Collection[str], flavor: Flavor) -> onnx.ModelProto:
    """Quantises the inputs and weights of the nodes named; everything else stays as it is.

    Weights are int8, symmetric, one scale an output channel. Sums, norms, softmax and the router see full precision.
    The exception are convolutions, residual additions and the means after them in the "cpu" flavour: there a
    convolution has an int8 kernel only where its output is quantised too, and one between two others that stay as they
    are stays so too, unless it is the only node named (see `without_islands`).

    Args:
        model: FP32 graph.
        statistics: of its activations.
        nodes: names of weighted nodes.
        flavor: "cpu": activations uint8, asymmetric, and biases int32, as ONNX Runtime and OpenVINO have fast kernels
            for; "tensorrt": activations int8, symmetric, and biases float, which is all its ONNX parser takes.
    """
    symmetric = flavor == "tensorrt"
    if not symmetric and len(nodes) > 1:
        nodes = without_islands(model, nodes)
    source = onnx.ModelProto()
    source.CopyFrom(model)
    statistics = _put_picture_on_grid(source, statistics, nodes, symmetric)
    quantized = round_weights(source, statistics, nodes)
    if not nodes:
        return quantized
    chosen = set(nodes)
    adds = [] if symmetric else [name for name, (_, made) in residual_adds(model).items() if chosen & set(made)]
    inputs = {node.name: node.input[0] for node in weighted_nodes(model) if node.name in chosen}
    steps = _quantize_activations(quantized, statistics, {*nodes, *adds}, symmetric)
    _quantize_weights(quantized, {name: steps[tensor] for name, tensor in inputs.items()}, with_bias=not symmetric)
    if not symmetric:
        _read_picture_as_it_is(quantized)
    return quantized


def _quantize_activations(
    model: onnx.ModelProto, statistics: Statistics, nodes: Collection[str], symmetric: bool
) -> dict[str, np.float32]:
    """Rounds what the nodes named read, and gives the steps, by tensor.

    Others read what was not rounded. But what a convolution or an addition of `nodes` puts out exists in 8 bits only,
    so that there all do.
    """
    constants, readers = initializers(model), consumers(model)
    producer = producers(model)

    def in_8_bits_only(tensor: str) -> bool:
        node = origin(tensor, producer)
        return node is None or node.op_type == "Conv" or (node.op_type == "Add" and node.name in nodes)

    read = {
        name: None
        for node in model.graph.node
        if node.name in nodes
        for name in (node.input if node.op_type == "Add" else node.input[:1])
        if name not in constants
    }
    steps: dict[str, np.float32] = {}
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for name in read:
        steps[name], zero = _grid(*statistics.ranges[name], symmetric)
        grid = [f"{name}_scale", f"{name}_zero_point"]
        for value, stored in zip((steps[name], zero), grid, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), stored))
        integers, rounded = f"{name}_quantized", f"{name}_rounded"
        everywhere = in_8_bits_only(name)
        for reader in readers[name]:
            if everywhere or reader.name in nodes:
                replace_input(reader, name, rounded)
        pairs[name] = [
            helper.make_node("QuantizeLinear", [name, *grid], [integers], name=f"{name}_QuantizeLinear"),
            helper.make_node("DequantizeLinear", [integers, *grid], [rounded], name=f"{name}_DequantizeLinear"),
        ]
    inputs = [pair for value in model.graph.input for pair in pairs.get(value.name, ())]
    after = [(node, *(pair for name in node.output for pair in pairs.get(name, ()))) for node in model.graph.node]
    _set_nodes(model, [*inputs, *(node for group in after for node in group)])
    return steps


def _grid(low: float, high: float, symmetric: bool) -> tuple[np.float32, np.int8 | np.uint8]:
    """Step and zero point for values from `low` to `high`, with zero on the grid."""
    low, high = min(float(np.float32(low)), 0.0), max(float(np.float32(high)), 0.0)
    step = max(-low, high) / GRID if symmetric else (high - low) / 255
    if step < np.finfo(np.float32).tiny:
        step, low = 1.0, 0.0  # nothing but zeros was seen
    return np.float32(step), np.int8(0) if symmetric else np.uint8(np.round(-low / step))


def _quantize_weights(model: onnx.ModelProto, steps: dict[str, np.float32], with_bias: bool) -> None:
    """Stores the weights of nodes in int8, and their biases in int32: those in steps of input and weight together.

    Where a bias would not fit, the channel's weights get a larger step.

    Args:
        model: changed in place.
        steps: by node, of its quantised input.
        with_bias: whether biases are quantised.
    """
    constants = initializers(model)
    widening: list[onnx.NodeProto] = []
    for node in weighted_nodes(model):
        if node.name not in steps:
            continue
        weight = numpy_helper.to_array(constants[node.input[1]])
        axis = out_axis(node)
        others = tuple(i for i in range(weight.ndim) if i != axis)
        step = np.abs(weight).max(axis=others).astype(np.float64) / GRID  # (O,)
        step[step < np.finfo(np.float32).tiny] = 1.0
        bias = None
        if with_bias and len(node.input) > 2:
            bias = numpy_helper.to_array(constants[node.input[2]]).astype(np.float64)
            step = np.maximum(step, np.abs(bias) / (MAX_BIAS * np.float64(steps[node.name])))
        scale = step.astype(np.float32)
        along = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        integers = np.clip(np.round(weight / along), -GRID, GRID).astype(np.int8)
        widening.append(_stored(model, node, 1, integers, scale, axis))
        if bias is not None:
            scale = scale * steps[node.name]
            widening.append(_stored(model, node, 2, np.round(bias / scale).astype(np.int32), scale, 0))
    _set_nodes(model, [*widening, *model.graph.node])
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _stored(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    position: int,
    integers: npt.NDArray[Any],
    scale: npt.NDArray[np.float32],
    axis: int,
) -> onnx.NodeProto:
    """Lets a node read a constant from integers, and gives the node that widens them."""
    name = f"{node.name}.{('', 'weight', 'bias')[position]}"
    names = [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"]
    for values, stored in zip((integers, scale, np.zeros(len(scale), integers.dtype)), names, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(values, stored))
    node.input[position] = rounded = f"{name}_rounded"
    return helper.make_node("DequantizeLinear", names, [rounded], name=f"{name}_DequantizeLinear", axis=axis)


def _set_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _put_picture_on_grid(
    model: onnx.ModelProto, statistics: Statistics, nodes: Collection[str], symmetric: bool
) -> Statistics:
    """Moves the picture's offset to a whole grey level, so that quantising it loses nothing, and says its new range.

    A mean of 127.5 lies between two levels: every pixel would be rounded by half a level, up or down by chance, and
    that is noise. The first convolution's bias makes up for the move everywhere but in the padding, which is off by as
    much; where that would be more than `MAX_PADDING_ERROR`, nothing is changed. Needs `fold_scale_into_stem`.
    """
    constants, readers = initializers(model), consumers(model)
    producer = producers(model)
    for shift in [node for node in model.graph.node if node.op_type == "Add" and node.input[1] in constants]:
        offset = numpy_helper.to_array(constants[shift.input[1]]).astype(np.float64)
        stem = readers[shift.output[0]][0] if len(readers[shift.output[0]]) == 1 else None
        if stem is None or stem.op_type != "Conv" or stem.name not in nodes or len(stem.input) < 3:
            continue
        transpose = producer.get(shift.input[0])
        cast = producer.get(transpose.input[0]) if transpose is not None and transpose.op_type == "Transpose" else None
        if cast is None or cast.op_type != "Cast" or cast.input[0] != model.graph.input[0].name:
            continue
        whole = np.float64(-128 if symmetric else np.floor(offset.mean()))
        if not -255 <= whole <= 0 or np.abs(offset - whole).max() > MAX_PADDING_ERROR:
            continue
        weight, bias = (constants[name] for name in stem.input[1:3])
        sums = numpy_helper.to_array(weight).astype(np.float64).sum(axis=(2, 3))  # (O, C)
        moved = sums @ np.broadcast_to((offset - whole).reshape(-1), sums.shape[1:])
        store(bias, numpy_helper.to_array(bias) + moved)
        store(constants[shift.input[1]], np.full_like(offset, whole))
        name = shift.output[0]
        means = {**statistics.means, name: (statistics.means[name] - (offset - whole).reshape(-1)).astype(np.float32)}
        span = (-127.0, 127.0) if symmetric else (float(whole), float(whole) + 255.0)  # a step is a grey level
        return replace(statistics, ranges={**statistics.ranges, name: span}, means=means)
    return statistics


def _read_picture_as_it_is(model: onnx.ModelProto) -> None:
    """Gives the picture's uint8 values to the first convolution: they are its quantised input already.

    Where offset and zero point cancel and a step is one grey level, three passes over the picture in floating point and
    the rounding do nothing.
    """
    constants, readers = initializers(model), consumers(model)
    producer = producers(model)
    for rounding in [node for node in model.graph.node if node.op_type == "QuantizeLinear"]:
        shift = producer.get(rounding.input[0])
        transpose = None if shift is None or shift.op_type != "Add" else producer.get(shift.input[0])
        cast = None if transpose is None or transpose.op_type != "Transpose" else producer.get(transpose.input[0])
        if shift is None or transpose is None or cast is None or cast.op_type != "Cast":
            continue
        if cast.input[0] != model.graph.input[0].name or shift.input[1] not in constants:
            continue
        offset, step, zero = (numpy_helper.to_array(constants[n]) for n in (shift.input[1], *rounding.input[1:3]))
        alone = all(len(readers[node.output[0]]) == 1 for node in (cast, transpose, shift))
        if not alone or step != 1 or not np.all(offset == -zero.astype(np.float32)):
            continue
        transpose.input[0] = cast.input[0]
        transpose.output[0] = rounding.output[0]
        for node in (cast, shift, rounding):
            model.graph.node.remove(node)
        return
