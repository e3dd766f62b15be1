"""Where the time of an exported ONNX file goes: seconds of every node, in groups, as the engine itself measures them.

python benchmarks/node_times.py best.int8.onnx
python benchmarks/node_times.py best.int8.onnx --backend openvino --batch 8 --nodes 20 --json nodes.json

Times are those of nodes after the engine's own fusions. Measuring every node slows a run by some percent.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from contender import import_quietly
from rich.console import Console
from rich.table import Table

from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.errors import MissingError
from lifeiqa.runtime.files import atomic_write, require_writable
from lifeiqa.runtime.preprocess import crops_of

app = new_app()
WARM_UP = 3  # runs before those that count

STEM, DEPTHWISE, POINTWISE = "stem", "depthwise convolutions", "pointwise convolutions"
CONVOLUTIONS, PRODUCTS = "other convolutions", "matrix products with weights"
ATTENTION, ROUNDING = "products of activations", "quantise and dequantise"
LAYOUT, NORMS, ELEMENTWISE, OTHER = "layout and shape", "norms, softmax and means", "element by element", "other"
_OPERATORS = {
    ROUNDING: "QuantizeLinear DequantizeLinear FakeQuantize",
    LAYOUT: "Transpose Reshape Reorder ReorderInput ReorderOutput Unsqueeze Squeeze Slice Concat Split Gather GatherND "
    "GatherElements Roll StridedSlice Pad Flatten",
    NORMS: "LayerNormalization SkipLayerNormalization Softmax SoftMax MVN ReduceMean ReduceSum Reduce AveragePool "
    "QLinearAveragePool GlobalAveragePool QLinearGlobalAveragePool Pooling",
    ELEMENTWISE: "Add Mul Sub Div Relu Clip Cast Convert QLinearAdd QLinearMul Gelu BiasGelu Erf Eltwise Subgraph "
    "MathNode Sqrt Pow",
}
_GROUP_OF = {operator: group for group, operators in _OPERATORS.items() for operator in operators.split()}


class Engine(str, Enum):
    """What runs the file."""

    onnxruntime = "onnxruntime"
    openvino = "openvino"


@dataclass(frozen=True)
class NodeTime:
    """One node of the graph as the engine runs it.

    Attributes:
        name: as the engine calls it; after a fusion that of one of the nodes fused.
        operator: the engine's own.
        group: see the constants.
        seconds: median over the runs, of one batch.
    """

    name: str
    operator: str
    group: str
    seconds: float


def onnxruntime_times(model: Path, crops: UInt8Array, runs: int, threads: int) -> list[NodeTime]:
    """Node times on the CPU, from ONNX Runtime's profiler, of crops (B, S, S, 3) uint8 RGB."""
    from lifeiqa.runtime.backends.onnxruntime import session_options

    onnxruntime: Any = import_quietly("onnxruntime")
    with tempfile.TemporaryDirectory() as made:
        options = session_options(onnxruntime, threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(made) / "profile")
        options.optimized_model_filepath = str(Path(made) / "optimized.onnx")
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        for _ in range(WARM_UP + runs):
            session.run(["score"], {"image": crops})
        events = json.loads(Path(session.end_profiling()).read_text())
        optimized = onnx.load(options.optimized_model_filepath)
    groups = _groups_of(optimized)
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            found[key].append(event["dur"] * 1e-6)
    return [
        NodeTime(name, operator, groups.get(name, _GROUP_OF.get(operator, OTHER)), float(np.median(seconds[WARM_UP:])))
        for (name, operator), seconds in found.items()
    ]


def openvino_times(model: Path, crops: UInt8Array, runs: int, threads: int) -> list[NodeTime]:
    """Node times on the CPU, from OpenVINO's performance counters, of crops (B, S, S, 3) uint8 RGB."""
    try:
        openvino: Any = import_quietly("openvino")
    except ImportError as error:
        raise MissingError("OpenVINO is not installed. Install it: pip install openvino") from error
    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": "YES"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    request = openvino.Core().compile_model(str(model), "CPU", options).create_infer_request()
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for done in range(WARM_UP + runs):
        request.infer({"image": crops}, share_inputs=True)
        for entry in request.get_profiling_info():
            if done >= WARM_UP and "NOT_RUN" not in str(entry.status):
                key = entry.node_name, entry.node_type, entry.exec_type
                found[key].append(entry.real_time.total_seconds())
    return [
        NodeTime(name, f"{kind} {primitive}", _openvino_group(name, kind, primitive), float(np.median(seconds)))
        for (name, kind, primitive), seconds in found.items()
    ]


def _groups_of(model: onnx.ModelProto) -> dict[str, str]:
    """The group of every convolution and product of an ONNX graph, by name."""
    dims = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    groups, seen_stem = {}, False
    for node in model.graph.node:
        if node.op_type in ("Conv", "QLinearConv", "FusedConv"):
            weight = dims.get(node.input[3 if node.op_type == "QLinearConv" else 1], ())
            group = next((a.i for a in node.attribute if a.name == "group"), 1)
            kind = DEPTHWISE if group > 1 else POINTWISE if weight[2:] == (1, 1) else CONVOLUTIONS
            groups[node.name] = kind if seen_stem else STEM
            seen_stem = True
        elif "MatMul" in node.op_type or "Gemm" in node.op_type:
            weighted = any(len(dims.get(name, ())) == 2 and min(dims[name]) > 16 for name in node.input)
            groups[node.name] = PRODUCTS if weighted else ATTENTION
    return groups


def _openvino_group(name: str, kind: str, primitive: str) -> str:
    if kind == "GroupConvolution":
        return DEPTHWISE
    if kind == "Convolution":
        if "stem" in name or "patch_embed" in name:
            return STEM
        return POINTWISE if "1x1" in primitive else CONVOLUTIONS
    return {"FullyConnected": PRODUCTS, "MatMul": ATTENTION}.get(kind, _GROUP_OF.get(kind, OTHER))


def by_group(times: Iterable[NodeTime]) -> list[dict[str, Any]]:
    """Nodes and seconds of each group, the slowest first, with its share of all."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for time in times:
        seconds[time.group].append(time.seconds)
    whole = sum(map(sum, seconds.values()))
    rows = [
        {"group": group, "nodes": len(values), "seconds": sum(values), "share": sum(values) / whole if whole else 0.0}
        for group, values in seconds.items()
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


_TIMES: dict[Engine, Callable[[Path, UInt8Array, int, int], list[NodeTime]]] = {
    Engine.onnxruntime: onnxruntime_times,
    Engine.openvino: openvino_times,
}


@app.command()
def node_times(
    model: Annotated[Path, typer.Argument(help="An exported ONNX file.")],
    backend: Annotated[Engine, typer.Option(help="What runs it, on the CPU.")] = Engine.onnxruntime,
    batch: Annotated[int, typer.Option(min=1, help="Crops at a time.")] = 1,
    runs: Annotated[int, typer.Option(min=3, help="Runs that are measured.")] = 30,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: all that this process may use.")] = 0,
    nodes: Annotated[int, typer.Option(min=0, help="How many of the slowest nodes are shown.")] = 10,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Show where the time of an exported model goes, node by node."""
    if json_file:
        require_writable(json_file.parent)
    with open_backend(model, "cpu", threads, backend.value) as opened:  # it explains what is wrong with a file
        spec, engine = opened.manifest.preprocess, opened.engine
    _, picture = next(held_out_pictures())
    crops = np.resize(crops_of(picture, spec), (batch, spec.crop_size, spec.crop_size, 3))
    times = sorted(_TIMES[backend](model, crops, runs, threads), key=lambda time: -time.seconds)
    groups = by_group(times)
    table = Table("group", "nodes", "ms", "%", title=f"{model.name}, {engine}, batch {batch}")
    for row in groups:
        table.add_row(row["group"], str(row["nodes"]), f"{1e3 * row['seconds']:.3f}", f"{100 * row['share']:.0f}")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if nodes:
        slowest = Table("node", "operator", "ms")
        for time in times[:nodes]:
            slowest.add_row(time.name, time.operator, f"{1e3 * time.seconds:.3f}")
        console.print(slowest)
    if json_file:
        report = {
            "kind": "node times",
            "format": 1,
            "model": model.name,
            "engine": engine,
            "batch": batch,
            "runs": runs,
            "groups": groups,
            "nodes": [asdict(time) for time in times],
        }
        atomic_write(json_file, (json.dumps(report, indent=1) + "\n").encode())


if __name__ == "__main__":
    run_app(app)
