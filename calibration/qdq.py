"""Puts QuantizeLinear and DequantizeLinear nodes into an FP32 graph: INT8, in the flavour that an engine is good at."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData

from lifeiqa.calibration.graph import WEIGHTED_OPS, residual_adds
from lifeiqa.calibration.rounding import round_weights
from lifeiqa.calibration.statistics import Statistics

Flavor: TypeAlias = Literal["cpu", "tensorrt"]
FLAVORS: tuple[Flavor, ...] = ("cpu", "tensorrt")


def quantize(model: onnx.ModelProto, statistics: Statistics, nodes: Collection[str], flavor: Flavor) -> onnx.ModelProto:
    """Quantises the inputs and weights of the nodes named; everything else stays as it is.

    Weights are int8, symmetric, one scale an output channel. What a node puts out is not quantised until another one
    takes it in: sums, norms, softmax and the router see full precision. The exception are residual additions in the
    "cpu" flavour, whose convolutions have int8 kernels only where their output is quantised too.

    Args:
        model: FP32 graph.
        statistics: of its activations.
        nodes: names of weighted nodes.
        flavor: "cpu": activations uint8, asymmetric, and biases int32, as ONNX Runtime and OpenVINO have fast kernels
            for; "tensorrt": activations int8, symmetric, and biases float, which is all its ONNX parser takes.
    """
    rounded = round_weights(model, statistics, nodes)
    if not nodes:
        return rounded
    symmetric = flavor == "tensorrt"
    adds = [] if symmetric else [name for name, (_, made) in residual_adds(model).items() if set(made) & set(nodes)]
    operators = [*WEIGHTED_OPS, "Add"]
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
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
