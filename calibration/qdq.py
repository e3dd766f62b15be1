"""Puts QuantizeLinear and DequantizeLinear nodes into an FP32 graph: INT8, in the flavour that an engine is good at."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData

from lifeiqa.calibration.graph import (
    PASSING,
    WEIGHTED_OPS,
    consumers,
    initializers,
    residual_adds,
    store,
    without_islands,
)
from lifeiqa.calibration.rounding import round_weights
from lifeiqa.calibration.statistics import Statistics

Flavor: TypeAlias = Literal["cpu", "tensorrt"]
FLAVORS: tuple[Flavor, ...] = ("cpu", "tensorrt")
MAX_PADDING_ERROR = 0.51  # grey levels of 255, at the border of a crop


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
    rounded = round_weights(source, statistics, nodes)
    if not nodes:
        return rounded
    adds = [] if symmetric else [name for name, (_, made) in residual_adds(model).items() if set(made) & set(nodes)]
    operators = [*WEIGHTED_OPS, "Add", "ReduceMean"]
    ranges = {name: (np.float32(low), np.float32(high)) for name, (low, high) in statistics.ranges.items()}
    options: dict[str, Any] = {
        "ActivationSymmetric": symmetric,
        "WeightSymmetric": True,
        "QuantizeBias": not symmetric,
        "OpTypesToExcludeOutputQuantization": operators,
    }
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it logs every node it leaves alone
    try:
        quantizer = QDQQuantizer(
            rounded,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=[*nodes, *adds],
            nodes_to_exclude=[],
            op_types_to_quantize=operators,
            extra_options=options,
        )
        quantizer.quantize_model()
    finally:
        root.setLevel(level)
    quantized: onnx.ModelProto = quantizer.model.model
    _read_in_full_precision(quantized, {*nodes, *adds})
    if not symmetric:
        _read_picture_as_it_is(quantized)
    quantizer.model.topological_sort()
    return quantized


def _put_picture_on_grid(
    model: onnx.ModelProto, statistics: Statistics, nodes: Collection[str], symmetric: bool
) -> Statistics:
    """Moves the picture's offset to a whole grey level, so that quantising it loses nothing, and says its new range.

    A mean of 127.5 lies between two levels: every pixel would be rounded by half a level, up or down by chance, and
    that is noise. The first convolution's bias makes up for the move everywhere but in the padding, which is off by as
    much; where that would be more than `MAX_PADDING_ERROR`, nothing is changed. Needs `fold_scale_into_stem`.
    """
    constants, readers = initializers(model), consumers(model)
    producer = {name: node for node in model.graph.node for name in node.output}
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


def _read_in_full_precision(model: onnx.ModelProto, quantized: Collection[str]) -> None:
    """Lets nodes that are not quantised read what was not rounded: the quantiser gives the rounded one to all readers.

    What a convolution or an addition of `quantized` puts out exists in 8 bits only, so that there it stays.
    """
    readers = consumers(model)
    producer = {name: node for node in model.graph.node for name in node.output}
    for widening in [node for node in model.graph.node if node.op_type == "DequantizeLinear"]:
        rounding = producer.get(widening.input[0])
        if rounding is None or rounding.op_type != "QuantizeLinear":
            continue
        origin = producer.get(rounding.input[0])
        while origin is not None and origin.op_type in PASSING:
            origin = producer.get(origin.input[0])
        if origin is None or origin.op_type == "Conv" or (origin.op_type == "Add" and origin.name in quantized):
            continue
        for reader in readers[widening.output[0]]:
            if reader.name not in quantized:
                for i, name in enumerate(reader.input):
                    if name == widening.output[0]:
                        reader.input[i] = rounding.input[0]


def _read_picture_as_it_is(model: onnx.ModelProto) -> None:
    """Gives the picture's uint8 values to the first convolution: they are its quantised input already.

    Where offset and zero point cancel and a step is one grey level, three passes over the picture in floating point and
    the rounding do nothing.
    """
    constants, readers = initializers(model), consumers(model)
    producer = {name: node for node in model.graph.node for name in node.output}
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
