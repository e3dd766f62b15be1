"""Every way to score crops that is timed, by a short name. A further one is one function and one entry of CONTENDERS.

pip install nncf pyiqa brisque iqa-torch    adds the contenders that are no part of lifeiqa; none downloads anything
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from contender import Contender, Loaded, Task, import_quietly

from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.errors import MissingError
from lifeiqa.runtime.limits import usable_cores


def load(task: Task) -> Loaded:
    """Loads a contender.

    Raises:
        MissingError: a package or a feature of the processor is missing.
        Exception: whatever a package raises that does not work.
    """
    with needing(task.name):
        import_modules(task.name)
        return CONTENDERS[task.name].load(task)


def prepared(task: Task, folder: Path) -> Task:
    """The same task with the file that is loaded, which some contenders make first, in `folder`. Raises as `load`."""
    prepare = CONTENDERS[task.name].prepare
    if prepare is None or task.model is None:
        return task
    with needing(task.name):
        return replace(task, model=prepare(task.model, folder))


def import_modules(name: str) -> None:
    """Imports what a contender needs before it is loaded."""
    for module in CONTENDERS[name].modules:
        import_quietly(module)


@contextlib.contextmanager
def needing(name: str) -> Iterator[None]:
    """Turns an `ImportError` of a contender into a `MissingError` that says what to install."""
    try:
        yield
    except ImportError as error:
        package = CONTENDERS[name].package
        raise MissingError(
            f"{package} is not installed, or cannot be loaded ({error}). Install it: pip install {package}"
        ) from error


def _torch(task: Task) -> Any:
    torch: Any = import_quietly("torch")
    torch.set_num_threads(task.threads or usable_cores())
    return torch


def _pytorch(mode: str | None) -> Callable[[Task], Loaded]:
    """PyTorch, with a mode of torch.compile or, with None, as it is."""

    def load(task: Task) -> Loaded:
        from lifeiqa.models.checkpoints.reader import load_checkpoint
        from lifeiqa.models.checkpoints.scorer import TorchScorer

        torch = _torch(task)
        checkpoint = load_checkpoint(task.ckpt)
        network: Any = checkpoint.build().to(task.device)
        # Fixed shapes: the fastest code. With fullgraph, what cannot be compiled is an error and not plain PyTorch.
        network = torch.compile(network, dynamic=False, fullgraph=True, mode=mode) if mode else network
        scorer = TorchScorer(network, checkpoint.preprocess, checkpoint.scale)
        return Loaded(lambda crops: scorer.score_crops(crops)[0].numpy(), f"torch {torch.__version__}")

    return load


def _exported(backend: str) -> Callable[[Task], Loaded]:
    def load(task: Task) -> Loaded:
        from lifeiqa.runtime.backends import open_backend

        assert task.model is not None
        opened = open_backend(task.model, task.device, task.threads, backend)
        return Loaded(opened.infer, opened.engine, opened.close)

    return load


def _bound(graph: bool) -> Callable[[Task], Loaded]:
    def load(task: Task) -> Loaded:
        from contender_bound import BoundModel

        assert task.model is not None
        model = BoundModel(task.model, task.device, task.threads, graph)
        return Loaded(model.score, model.engine, model.close)

    return load


def _openvino(hint: str) -> Callable[[Task], Loaded]:
    """Any model that OpenVINO reads, with "f32" or "bf16" as its inference precision."""

    def load(task: Task) -> Loaded:
        openvino: Any = import_quietly("openvino")
        core = openvino.Core()
        if hint == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise MissingError("this processor has no BF16 (avx512_bf16, amx_bf16 or ARM's bf16)")
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
        if task.threads:
            options["INFERENCE_NUM_THREADS"] = str(task.threads)
        request = core.compile_model(core.read_model(str(task.model)), "CPU", options).create_infer_request()
        version = openvino.__version__.split("-")[0]
        return Loaded(lambda crops: request.infer({"image": crops}, share_inputs=True)["score"], f"openvino {version}")

    return load


def _quantized_by_nncf(model: Path, folder: Path) -> Path:
    """NNCF's post-training quantization on one crop of each picture of the held-out ladders.

    With its settings for networks with attention: of what the others make, OpenVINO 2026.4 cannot compile every node.
    """
    from lifeiqa.models.synthesis.ladders import LADDERS, held_out_pictures, ladder
    from lifeiqa.runtime.manifest import METADATA_KEY, Manifest
    from lifeiqa.runtime.preprocess import crops_of

    nncf, openvino = import_quietly("nncf"), import_quietly("openvino")
    graph = openvino.Core().read_model(str(model))
    manifest = Manifest.from_metadata(
        {METADATA_KEY: str(graph.get_rt_info(["framework", METADATA_KEY]).value)}, str(model)
    )
    crops = [
        crops_of(copy, manifest.preprocess, 1)
        for _, picture in held_out_pictures()
        for name in LADDERS
        for copy in ladder(picture, name)[1:]
    ]
    with contextlib.redirect_stdout(sys.stderr):  # its progress
        quantized = nncf.quantize(
            graph,
            nncf.Dataset(crops, lambda crop: {"image": crop}),
            subset_size=len(crops),
            model_type=nncf.ModelType.TRANSFORMER,
        )
    path = folder / f"{model.stem}.nncf.xml"
    openvino.save_model(quantized, str(path), compress_to_fp16=False)
    return path


def _pyiqa(name: str, **options: Any) -> Callable[[Task], Loaded]:
    """A network of pyiqa with random weights: its speed is that of the trained one, and nothing is downloaded."""

    def load(task: Task) -> Loaded:
        torch, pyiqa, timm = _torch(task), import_quietly("pyiqa"), import_quietly("timm")
        make = timm.create_model
        # HyperIQA would download its backbone even so.
        timm.create_model = lambda *given, **named: make(*given, **{**named, "pretrained": False})
        try:
            torch.manual_seed(0)
            network = pyiqa.create_metric(name, pretrained=False, device=torch.device(task.device), **options)
        finally:
            timm.create_model = make

        def score(crops: UInt8Array) -> Any:
            with torch.inference_mode():
                pixels = torch.from_numpy(crops).to(task.device).permute(0, 3, 1, 2).float() / 255.0
                return network(pixels).flatten().cpu().numpy()

        return Loaded(score, f"torch {torch.__version__}, pyiqa {metadata.version('pyiqa')}")

    return load


def _classical(name: str) -> Callable[[Task], Loaded]:
    def load(task: Task) -> Loaded:
        from classical import open_classical, version_of

        from lifeiqa.runtime.opencv import cv2

        cv2.setNumThreads(task.threads or usable_cores())
        score = open_classical(name)
        return Loaded(
            lambda crops: np.array([score(crop) for crop in crops]), version_of(name) or f"opencv {cv2.__version__}"
        )

    return load


_TORCH = ("torch", "lifeiqa.models.checkpoints.reader", "lifeiqa.models.checkpoints.scorer")
_ORT = ("onnxruntime", "lifeiqa.runtime.backends.onnxruntime")
_BOUND = ("onnxruntime", "contender_bound")
_OPENVINO = ("openvino", "lifeiqa.runtime.backends.openvino")
_OPENCV = ("lifeiqa.runtime.opencv", "classical")
CONTENDERS: dict[str, Contender] = {
    "pytorch": Contender("PyTorch eager", "pytorch", _pytorch(None), _TORCH, "torch", reads_checkpoint=True),
    "compile": Contender("torch.compile", "pytorch", _pytorch("default"), _TORCH, "torch", reads_checkpoint=True),
    "compile-graph": Contender(
        *("torch.compile, CUDA graph", "pytorch", _pytorch("reduce-overhead"), _TORCH, "torch"),
        reads_checkpoint=True,
        devices=("cuda",),
    ),
    "onnxruntime": Contender("ONNX Runtime", "lifeiqa", _exported("onnxruntime"), _ORT, "onnxruntime", None, ".onnx"),
    "onnxruntime-bound": Contender(
        *("ONNX Runtime, I/O binding", "lifeiqa", _bound(False), _BOUND, "onnxruntime-gpu", None, ".onnx"),
        devices=("cuda",),
    ),
    "onnxruntime-graph": Contender(
        *("ONNX Runtime, CUDA graph", "lifeiqa", _bound(True), _BOUND, "onnxruntime-gpu", None, ".onnx"),
        devices=("cuda",),
    ),
    "openvino": Contender(
        "OpenVINO", "lifeiqa", _exported("openvino"), _OPENVINO, "openvino", None, ".onnx", devices=("cpu",)
    ),
    "openvino-bf16": Contender(
        *("OpenVINO", "lifeiqa", _openvino("bf16"), ("openvino",), "openvino", "bf16", ".onnx"),
        fp32_only=True,
        devices=("cpu",),
    ),
    "tensorrt": Contender(
        *("TensorRT", "lifeiqa", _exported("tensorrt"), ("lifeiqa.runtime.backends.tensorrt",), "tensorrt", None),
        suffix=".engine",
        devices=("cuda",),
    ),
    "nncf": Contender(
        *("OpenVINO, quantized by NNCF", "lifeiqa", _openvino("f32"), ("openvino",), "nncf", "int8", ".onnx"),
        fp32_only=True,
        devices=("cpu",),
        prepare=_quantized_by_nncf,
    ),
    "topiq_nr": Contender("TOPIQ", "other network", _pyiqa("topiq_nr"), ("torch", "pyiqa"), "pyiqa"),
    "musiq": Contender("MUSIQ", "other network", _pyiqa("musiq"), ("torch", "pyiqa"), "pyiqa"),
    # One crop of its own to a crop of ours, where it would take 25 of a picture.
    "hyperiqa": Contender("HyperIQA", "other network", _pyiqa("hyperiqa", num_crop=1), ("torch", "pyiqa"), "pyiqa"),
    "brisque": Contender(
        *("BRISQUE", "classical", _classical("brisque"), (*_OPENCV, "brisque"), "brisque", "float"), devices=("cpu",)
    ),
    "niqe": Contender(
        *("NIQE", "classical", _classical("niqe"), (*_OPENCV, "torch", "iqa.niqe.niqe_core"), "iqa-torch", "float"),
        devices=("cpu",),
    ),
    "laplacian": Contender(
        *("variance of the Laplacian", "classical", _classical("laplacian"), _OPENCV, "opencv-python-headless"),
        precision="float",
        devices=("cpu",),
    ),
}
