import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers import altered
from onnx import TensorProto, helper, numpy_helper

from lifeiqa.runtime import Scorer
from lifeiqa.runtime.backends import choose_engine, open_backend
from lifeiqa.runtime.backends import onnxruntime as onnxruntime_backend
from lifeiqa.runtime.backends.onnxruntime import has_vnni, session_options
from lifeiqa.runtime.errors import ImageError, ManifestError, MissingError, UsageError
from lifeiqa.runtime.limits import compute_threads
from lifeiqa.runtime.processor import Processor
from lifeiqa.runtime.scorer import default_model


def test_infer_gives_one_score_for_each_crop_of_any_batch(tiny_onnx: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (7, 224, 224, 3), np.uint8)
    with open_backend(tiny_onnx, "cpu") as backend:
        scores = backend.infer(crops)
        assert scores.shape == (7,)
        assert scores.dtype == np.float32
        assert backend.infer(crops[3:4])[0] == pytest.approx(scores[3], abs=1e-3)
        weights = backend.infer_all(crops)["expert_weights"]
        assert weights.shape == (7, 6, 4)
        assert np.allclose(weights.sum(axis=-1), 1, atol=1e-5)
        assert ((weights > 0).sum(axis=-1) == 2).all()


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((0, 224, 224, 3), np.uint8),
    ],
)
def test_crops_of_another_kind_are_a_bug_of_the_caller(tiny_onnx: Path, crops: np.ndarray) -> None:
    with open_backend(tiny_onnx, "cpu") as backend, pytest.raises(ValueError, match="expected crops"):
        backend.infer(crops)


def test_auto_says_where_it_runs(tiny_onnx: Path) -> None:
    with open_backend(tiny_onnx) as backend:
        assert backend.device in ("cpu", "cuda")
        assert backend.engine.split()[0] == choose_engine("auto", "fp32")[0]


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here")
def test_cuda_is_never_replaced_by_the_cpu(tiny_onnx: Path) -> None:
    with pytest.raises(MissingError, match=r"CUDA was asked for.*pip install onnxruntime-gpu"):
        open_backend(tiny_onnx, "cuda")


def test_files_that_are_not_ours_are_named_and_refused(tmp_path: Path, tiny_pt: Path) -> None:
    garbage, foreign = tmp_path / "garbage.onnx", tmp_path / "foreign.onnx"
    garbage.write_bytes(b"\x00garbage" * 100)
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), foreign)
    for path, kind, message in (
        (garbage, ManifestError, "cannot be loaded as an ONNX model"),
        (foreign, ManifestError, "foreign.onnx is not a model that lifeiqa exported"),
        (tiny_pt, ManifestError, "export it first: lifeiqa-export --ckpt tiny.pt"),
        (tmp_path / "none.onnx", UsageError, "There is no model"),
    ):
        with pytest.raises(kind, match=message):
            open_backend(path)


def test_truncated_model_is_refused(tmp_path: Path, tiny_onnx: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(tiny_onnx.read_bytes()[:-1000])
    with pytest.raises(ManifestError):
        open_backend(cut)


def test_score_of_another_kind_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    def as_scalar(model: onnx.ModelProto) -> None:
        score = model.graph.output[0].name
        model.graph.node.append(helper.make_node("ReduceSum", [score], ["total"], keepdims=0))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))
        model.graph.output[0].name = "total"

    with pytest.raises(ManifestError, match="inputs and outputs its manifest promises"):
        open_backend(altered(tiny_onnx, tmp_path / "scalar.onnx", as_scalar))


def test_model_that_gives_nan_makes_a_record_with_an_error(
    tiny_onnx: Path, tmp_path: Path, astronaut: np.ndarray
) -> None:
    def with_nan(model: onnx.ModelProto) -> None:
        weights = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        weights.raw_data = np.full(len(weights.raw_data) // 4, np.nan, np.float32).tobytes()

    with (
        Scorer(altered(tiny_onnx, tmp_path / "nan.onnx", with_nan)) as scorer,
        pytest.raises(ImageError, match="no number"),
    ):
        scorer.score(astronaut)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_model_that_fails_while_running_is_named(engine: str, tiny_onnx: Path, tmp_path: Path) -> None:
    pytest.importorskip(engine)

    def with_impossible_reshape(model: onnx.ModelProto) -> None:
        score = model.graph.output[0].name
        model.graph.initializer.append(numpy_helper.from_array(np.array([7, -1], np.int64), "seven"))
        model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "flat"))
        for node in model.graph.node:
            node.output[:] = ["before" if name == score else name for name in node.output]
        model.graph.node.append(helper.make_node("Reshape", ["before", "seven"], ["rows"]))
        model.graph.node.append(helper.make_node("Reshape", ["rows", "flat"], [score]))

    path = altered(tiny_onnx, tmp_path / "fails.onnx", with_impossible_reshape)
    with open_backend(path, "cpu", 0, engine) as backend, pytest.raises(ManifestError, match="failed while running"):
        backend.infer(np.zeros((2, 224, 224, 3), np.uint8))


def test_exact_sums_are_asked_for_where_the_processor_has_no_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> bool:
        added: list[tuple[str, str]] = []
        options = onnxruntime.SessionOptions
        with monkeypatch.context() as context:
            context.setattr(options, "add_session_config_entry", lambda _, *entry: added.append(entry))
            session_options(onnxruntime)
        return ("session.x64quantprecision", "1") in added

    assert asked() is not has_vnni()
    for here in (True, False, None):
        monkeypatch.setattr(onnxruntime_backend, "processor", lambda here=here: Processor("", "", {"VNNI": here}))
        has_vnni.cache_clear()
        assert asked() is (here is not True)
    has_vnni.cache_clear()


@pytest.mark.parametrize("op", ["Conv", "MatMul"])
def test_int8_sums_do_not_overflow_on_any_cpu(op: str) -> None:
    """x86 before VNNI adds two products in 16 bits unless it is told not to: half of this sum would be lost."""
    channels, shape = 64, [1, 64, 4, 4] if op == "Conv" else [4, 64]
    weights = np.full((8, channels, 1, 1) if op == "Conv" else (channels, 8), 127, np.int8)
    total = 255.0 * 127 * channels
    constants = {
        "weights": weights,
        "one": np.float32(1),
        "step": np.float32(total / 255),
        "zero": np.uint8(0),
        "signed_zero": np.int8(0),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "one", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["weights", "one", "signed_zero"], ["wf"]),
        helper.make_node(op, ["xf", "wf"], ["yf"]),
        helper.make_node("QuantizeLinear", ["yf", "step", "zero"], ["y8"]),
        helper.make_node("DequantizeLinear", ["y8", "step", "zero"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "int8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = session_options(onnxruntime, threads=1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.full(shape, 255, np.float32)})
    np.testing.assert_allclose(y, total, rtol=1e-3)


def test_manifest_that_nests_without_end_is_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    def nested(model: onnx.ModelProto) -> None:
        model.metadata_props[0].value = "[" * 100_000

    with pytest.raises(ManifestError, match="malformed manifest"):
        open_backend(altered(tiny_onnx, tmp_path / "nested.onnx", nested))


ALLOWED_CORES = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from lifeiqa.runtime import Scorer
scorer = Scorer(sys.argv[1], device="cpu")
used = {core for task in os.listdir("/proc/self/task") for core in os.sched_getaffinity(int(task))}
print(used == os.sched_getaffinity(0))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity of processes")
def test_no_thread_runs_on_a_core_that_the_process_may_not_use(tiny_onnx: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALLOWED_CORES, tiny_onnx], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("version", "spinning"),
    [("1.32.0", ("intra_op.spin_duration_us", "5")), ("1.20.1", ("intra_op.allow_spinning", "0"))],
)
def test_threads_hardly_spin_and_are_not_bound_to_cores(
    version: str, spinning: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    added: dict[str, str] = {}
    monkeypatch.setattr(onnxruntime, "__version__", version)
    options = onnxruntime.SessionOptions
    monkeypatch.setattr(options, "add_session_config_entry", lambda _, key, value: added.update({key: value}))
    assert session_options(onnxruntime).intra_op_num_threads == compute_threads()  # ONNX Runtime binds those of its own
    assert session_options(onnxruntime, 3).intra_op_num_threads == 3
    expected = {f"session.{spinning[0]}": spinning[1], "session.dynamic_block_base": "4"}
    assert {key: value for key, value in added.items() if "quant" not in key} == expected


def test_number_of_threads_does_not_change_a_score() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), np.uint8)
    scores = []
    for threads in (1, 2, 3):
        with open_backend(default_model(), "cpu", threads, "onnxruntime") as backend:
            scores.append(backend.infer(crops))
    assert np.array_equal(scores[0], scores[1]) and np.array_equal(scores[0], scores[2])
