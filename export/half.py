"""Turns an FP32 graph into an FP16 one that stays FP32 where half precision breaks."""

from __future__ import annotations

import logging
from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from lifeiqa.calibration.graph import (
    consumers,
    initializers,
    producers,
    replace_input,
    session_of,
    weighted_nodes,
)
from lifeiqa.calibration.rounding import round_kernels_to_half
from lifeiqa.runtime.arrays import UInt8Array

# Statistics of LayerNorm and means are sums of many squares or values; softmax and Top-K decide on small differences.
FP32_OPS = (
    "LayerNormalization",
    "ReduceMean",
    "ReduceSum",
    "GlobalAveragePool",
    "Softmax",
    "TopK",
    "Pow",
    "Sqrt",
)
HEADROOM = 8.0  # other pictures than those measured may be this much larger before FP16's 65504 overflows


def to_half(model: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
    """A copy in FP16; inputs and outputs keep their types.

    FP32 stay: the operators of `FP32_OPS`, the normalisation of the picture, the router, and the nodes named.
    """
    source = onnx.ModelProto()
    source.CopyFrom(model)
    constants = initializers(source)
    for node in weighted_nodes(source):
        if node.op_type == "Conv" and node.name not in kept:
            tensor = constants[node.input[1]]
            rounded = round_kernels_to_half(numpy_helper.to_array(tensor))
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    logger = logging.getLogger("onnxruntime.transformers.float16")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        half: onnx.ModelProto = convert_float_to_float16(
            source,
            keep_io_types=True,
            op_block_list=list(FP32_OPS),
            node_block_list=[*kept, *_entrance(model), *_router(model)],
        )
    finally:
        logger.setLevel(level)
    _join_fp32(half)
    del half.graph.value_info[:]  # some still name the type before conversion; every reader infers them anew
    OnnxModel(half).topological_sort()  # the converter appends its casts
    return half


def _join_fp32(model: onnx.ModelProto) -> None:
    """Between two FP32 nodes, the converter goes down to FP16 and back, which loses what they were kept for."""
    producer = producers(model)
    readers = consumers(model)
    results = {value.name for value in model.graph.output}
    for widening in [node for node in model.graph.node if _casts_to(node, onnx.TensorProto.FLOAT)]:
        narrowing = producer.get(widening.input[0])
        if narrowing is None or not _casts_to(narrowing, onnx.TensorProto.FLOAT16):
            continue
        if widening.output[0] in results:  # a result of the graph keeps its name
            widening.op_type, widening.input[0] = "Identity", narrowing.input[0]
            del widening.attribute[:]
            if len(readers[narrowing.output[0]]) == 1:
                model.graph.node.remove(narrowing)
            continue
        for reader in readers[widening.output[0]]:
            replace_input(reader, widening.output[0], narrowing.input[0])
        model.graph.node.remove(widening)
        readers[narrowing.output[0]].remove(widening)
        if not readers[narrowing.output[0]]:
            model.graph.node.remove(narrowing)


def _casts_to(node: onnx.NodeProto, kind: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == kind for a in node.attribute)


def sensitive_nodes(model: onnx.ModelProto, crops: UInt8Array) -> set[str]:
    """Nodes that take in or put out values near FP16's end, measured on crops (B, S, S, 3) uint8 RGB."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    tensors = [name for node in model.graph.node for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT]
    for name in tensors:
        observed.graph.node.append(helper.make_node("Abs", [name], [f"{name}__abs"]))
        observed.graph.node.append(helper.make_node("ReduceMax", [f"{name}__abs"], [f"{name}__largest"], keepdims=0))
        observed.graph.output.append(helper.make_tensor_value_info(f"{name}__largest", onnx.TensorProto.FLOAT, []))
    largest = session_of(observed).run([f"{name}__largest" for name in tensors], {"image": crops})
    end = float(np.finfo(np.float16).max) / HEADROOM
    overflowing = {name for name, value in zip(tensors, largest, strict=True) if not float(value) < end}
    return {node.name for node in model.graph.node if overflowing.intersection((*node.input, *node.output))}


def _entrance(model: onnx.ModelProto) -> set[str]:
    """From the uint8 picture to the first convolution: half precision cannot tell bright grey levels apart."""
    readers, found = consumers(model), set()
    front = [model.graph.input[0].name]
    while front:
        for node in readers[front.pop()]:
            if node.op_type not in ("Conv", "MatMul", "Gemm") and node.name not in found:
                found.add(node.name)
                front += node.output
    return found


def _router(model: onnx.ModelProto) -> set[str]:
    """What leads to a Top-K, back to the norm before it: a rounded logit may choose another expert."""
    producer = producers(model)
    front = [node.input[0] for node in model.graph.node if node.op_type == "TopK"]
    found: set[str] = set()
    while front:
        node = producer.get(front.pop())
        if node is not None and node.op_type in ("MatMul", "Gemm", "Add") and node.name not in found:
            found.add(node.name)
            front += node.input
    return found
