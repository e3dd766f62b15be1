"""What quantisation and half precision share about an ONNX graph: its weighted nodes, and running it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends.onnxruntime import session_options

WEIGHTED_OPS = ("Conv", "MatMul", "Gemm")
MIN_WEIGHT_SIZE = 2048  # values; below that there is nothing to gain, and routers and score heads are that small
MIN_WIDTH = 16  # inputs and outputs; to round what a narrower product reads takes longer than the product
PASSING = ("Clip", "Relu")  # operators that engines compute along with the convolution before them
_BATCH = 8
_LARGE = 4096  # bytes of a constant

Scores: TypeAlias = list[npt.NDArray[np.float32]]  # of each picture's crops: (K,)


def initializers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The graph's constants by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def store(tensor: onnx.TensorProto, values: npt.NDArray[Any]) -> None:
    """Gives a constant other FP32 values, of any shape."""
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), tensor.name))


def consumers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor."""
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    return readers


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that puts out each tensor."""
    return {name: node for node in model.graph.node for name in node.output}


def origin(tensor: str, producer: Mapping[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The node that a tensor comes from, before what engines compute along with it; None for an input of the graph."""
    node = producer.get(tensor)
    while node is not None and node.op_type in PASSING:
        node = producer.get(node.input[0])
    return node


def replace_input(node: onnx.NodeProto, name: str, other: str) -> None:
    """Lets a node read another tensor wherever it reads the one named."""
    for i, given in enumerate(node.input):
        if given == name:
            node.input[i] = other


def weighted_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Convolutions, and matrix products with a constant two-dimensional second operand, in the graph's order.

    Depthwise convolutions count however small they are: the int8 path of an engine breaks where one is missing.
    """
    constants = initializers(model)

    def worth_it(node: onnx.NodeProto) -> bool:
        weight = constants.get(node.input[1]) if node.op_type in WEIGHTED_OPS else None
        if weight is None or weight.data_type != onnx.TensorProto.FLOAT or node.input[0] in constants:
            return False
        dims = weight.dims
        return node.op_type == "Conv" or (
            len(dims) == 2 and min(dims) >= MIN_WIDTH and bool(np.prod(dims) >= MIN_WEIGHT_SIZE)
        )

    return [node for node in model.graph.node if worth_it(node)]


def out_axis(node: onnx.NodeProto) -> int:
    """Which axis of a weighted node's constant runs over its output channels."""
    transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def residual_adds(model: onnx.ModelProto) -> dict[str, tuple[onnx.NodeProto, list[str]]]:
    """Additions of a convolution's output to another activation, by name, each with the convolutions it adds up.

    And means of a convolution's output: like the additions, they decide whether the convolution has an int8 kernel.
    """
    producer = producers(model)
    constants = initializers(model)
    found = {}
    for node in model.graph.node:
        inputs = [name for name in node.input if name not in constants]
        if (node.op_type, len(inputs)) in (("Add", 2), ("ReduceMean", 1)) and all(name in producer for name in inputs):
            convolutions = [producer[name].name for name in inputs if producer[name].op_type == "Conv"]
            if convolutions:
                found[node.name] = node, convolutions
    return found


def without_islands(model: onnx.ModelProto, nodes: Collection[str]) -> list[str]:
    """The nodes named but for convolutions that would be quantised alone, between others that are not.

    The way into 8 bits and out again takes longer there than 8 bits save.
    """
    readers, chosen = consumers(model), set(nodes)
    producer = producers(model)
    adds = residual_adds(model)

    def quantized(node: onnx.NodeProto | None) -> bool:
        return node is not None and (node.name in chosen or not chosen.isdisjoint(adds.get(node.name, (node, []))[1]))

    def is_island(node: onnx.NodeProto) -> bool:
        after = readers[node.output[0]]
        while len(after) == 1 and after[0].op_type in PASSING:
            after = readers[after[0].output[0]]
        others = [other for other in after if other.name not in adds or adds[other.name][1] != [node.name]]
        return not quantized(origin(node.input[0], producer)) and not any(map(quantized, others))

    islands = {node.name for node in weighted_nodes(model) if node.op_type == "Conv" and is_island(node)}
    return [name for name in nodes if name not in islands]


def large_nodes(model: onnx.ModelProto) -> set[str]:
    """Weighted nodes with a tenth or more of all weights each: left unquantised, they would undo the file's size."""
    constants = initializers(model)
    sizes = {node.name: int(np.prod(constants[node.input[1]].dims)) for node in weighted_nodes(model)}
    return {name for name, size in sizes.items() if size >= 0.1 * sum(sizes.values())}


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Loads a graph into ONNX Runtime on the CPU.

    Large constants go there as they are: to write them into the bytes of a file and to read them again takes longer
    than all else.
    """
    options = session_options(onnxruntime)
    bare, constants = onnx.ModelProto(), {}
    bare.ir_version = model.ir_version
    bare.opset_import.extend(model.opset_import)
    bare.functions.extend(model.functions)
    graph, source = bare.graph, model.graph
    graph.name = source.name
    for field in ("node", "input", "output", "value_info"):
        getattr(graph, field).extend(getattr(source, field))
    for tensor in source.initializer:
        if len(tensor.raw_data) < _LARGE:
            graph.initializer.append(tensor)
            continue
        constants[tensor.name] = onnxruntime.OrtValue.ortvalue_from_numpy(numpy_helper.to_array(tensor))
        outside = graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        outside.data_location = onnx.TensorProto.EXTERNAL
        outside.external_data.add(key="location", value=tensor.name)
    options.add_external_initializers(list(constants), list(constants.values()))
    return onnxruntime.InferenceSession(bare.SerializeToString(), options, providers=["CPUExecutionProvider"])


def scores_of(model: onnx.ModelProto, crops: Sequence[UInt8Array]) -> Scores:
    """Scores of each picture's crops: (K,) for (K, S, S, 3) uint8 RGB."""
    return run_scores(session_of(model), crops)


def run_scores(session: onnxruntime.InferenceSession, crops: Sequence[UInt8Array]) -> Scores:
    """As `scores_of`, of a graph that is loaded already."""
    every = np.concatenate(list(crops))
    parts: list[Any] = [
        session.run(["score"], {"image": every[i : i + _BATCH]})[0] for i in range(0, len(every), _BATCH)
    ]
    return split_scores(np.concatenate(parts), crops)


def split_scores(scores: npt.NDArray[np.float32], crops: Sequence[UInt8Array]) -> Scores:
    """Scores of all crops (N,) as those of each picture's crops."""
    return list(np.split(scores, np.cumsum([len(cut) for cut in crops])[:-1]))
