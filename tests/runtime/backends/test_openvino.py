import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers import altered
from onnx import TensorProto, helper

from lifeiqa.runtime import Scorer
from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.backends.openvino import _import_openvino
from lifeiqa.runtime.cli import main
from lifeiqa.runtime.errors import ImageError, ManifestError, MissingError, UsageError
from lifeiqa.runtime.preprocess import crops_of
from lifeiqa.runtime.scorer import default_model

openvino = _import_openvino()


def random_crops(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), np.uint8)


@pytest.mark.parametrize(("shipped", "tolerance"), [(False, 1e-3), (True, 3.0)])  # INT8 is rounded in other places
def test_everything_is_as_in_onnx_runtime(
    shipped: bool, tolerance: float, tiny_onnx: Path, astronaut: np.ndarray
) -> None:
    model = default_model() if shipped else tiny_onnx
    with open_backend(model, "cpu", 1, "onnxruntime") as expected, open_backend(model, "cpu", 1, "openvino") as found:
        assert (found.manifest, found.io, found.device) == (expected.manifest, expected.io, "cpu")
        assert found.engine.startswith(f"openvino {openvino.__version__.split('-')[0]}")
        crops = np.concatenate([random_crops(3), crops_of(astronaut, found.manifest.preprocess)])
        outputs = found.infer_all(crops)
        for name, values in expected.infer_all(crops).items():
            assert outputs[name].dtype == np.float32
            np.testing.assert_allclose(outputs[name], values, rtol=0, atol=tolerance)


def test_any_batch_gives_each_crop_its_own_score(tiny_onnx: Path) -> None:
    crops = random_crops(7)
    with open_backend(tiny_onnx, backend="openvino") as backend:
        scores = backend.infer(crops)
        assert scores.shape == (7,)
        for start, stop in ((3, 4), (0, 5), (0, 7), (2, 4)):
            np.testing.assert_allclose(backend.infer(crops[start:stop]), scores[start:stop], rtol=0, atol=1e-3)


def test_scores_are_the_callers_own_and_crops_may_be_read_only(tiny_onnx: Path) -> None:
    crops = random_crops(2)
    crops.flags.writeable = False
    with open_backend(tiny_onnx, backend="openvino") as backend:
        first = backend.infer(crops)
        kept = first.copy()
        backend.infer(255 - crops)
        assert np.array_equal(first, kept)
    assert np.array_equal(first, kept)


THREADS = """
import os
from pathlib import Path
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, range(os.cpu_count()))  # this test may itself be bound to one core
from lifeiqa.runtime.backends.openvino import OpenVinoBackend
compiled = OpenVinoBackend(Path({model!r}), threads={threads})._request.get_compiled_model()
print(compiled.get_property("INFERENCE_NUM_THREADS"), compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
print(compiled.get_property("ENABLE_CPU_PINNING"))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_as_many_as_asked_for_and_not_bound_to_cores(tiny_onnx: Path, threads: int) -> None:
    program = THREADS.format(model=str(tiny_onnx), threads=threads)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(threads), "f32", "False"]


def test_cuda_is_refused_and_the_mending_option_named(tiny_onnx: Path) -> None:
    with pytest.raises(UsageError, match=r"OpenVINO does not run on NVIDIA GPUs.*--backend onnxruntime"):
        open_backend(tiny_onnx, "cuda", backend="openvino")


def test_closed_backend_is_a_bug_of_the_caller(tiny_onnx: Path) -> None:
    backend = open_backend(tiny_onnx, backend="openvino")
    backend.close()
    with pytest.raises(ValueError, match="closed"):
        backend.infer(random_crops(1))


def test_files_that_are_not_ours_are_refused_in_silence(
    tmp_path: Path, tiny_onnx: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = tiny_onnx.read_bytes()
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [x], [y])
    foreign = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    unknown = helper.make_graph([helper.make_node("NoSuchOperator", ["x"], ["y"])], "g", [x], [y])
    for name, data, message in (
        ("garbage", b"\x00garbage" * 100, "cannot be loaded as an ONNX model"),
        ("text", b"hello\n" * 100, "cannot be loaded as an ONNX model"),
        ("ir", b'<?xml version="1.0"?><net name="a" version="11"/>', "cannot be loaded as an ONNX model"),
        ("cut", whole[:-1000], "cannot be loaded as an ONNX model"),
        ("half", whole[: len(whole) // 2], "cannot be loaded as an ONNX model"),
        ("unknown", helper.make_model(unknown).SerializeToString(), "unknown.onnx cannot be loaded as an ONNX model"),
        ("empty", b"", "empty.onnx is not a model that lifeiqa exported"),
        ("foreign", foreign, "foreign.onnx is not a model that lifeiqa exported"),
    ):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        with pytest.raises(ManifestError, match=message) as caught:
            open_backend(path, backend="openvino")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_manifest_and_graph_that_do_not_fit_are_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    def nested(model: onnx.ModelProto) -> None:
        model.metadata_props[0].value = "[" * 100_000

    def as_scalar(model: onnx.ModelProto) -> None:
        score = model.graph.output[0].name
        model.graph.node.append(helper.make_node("ReduceSum", [score], ["total"], keepdims=0))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))

    for change, message in ((nested, "malformed manifest"), (as_scalar, "inputs and outputs its manifest promises")):
        with pytest.raises(ManifestError, match=message):
            open_backend(altered(tiny_onnx, tmp_path / "altered.onnx", change), backend="openvino")


def test_model_that_gives_nan_makes_a_record_with_an_error(
    tiny_onnx: Path, tmp_path: Path, astronaut: np.ndarray
) -> None:
    def with_nan(model: onnx.ModelProto) -> None:
        weights = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        weights.raw_data = np.full(len(weights.raw_data) // 4, np.nan, np.float32).tobytes()

    path = altered(tiny_onnx, tmp_path / "nan.onnx", with_nan)
    with Scorer(path, backend="openvino") as scorer, pytest.raises(ImageError, match="no number"):
        scorer.score(astronaut)


def test_unknown_and_unsuitable_backends_are_named(tiny_onnx: Path, tmp_path: Path) -> None:
    engine = tmp_path / "a.engine"
    engine.touch()
    for path, backend, message in (
        (tiny_onnx, "tflite", "The backend is one of auto, onnxruntime, openvino, tensorrt, not 'tflite'"),
        (tiny_onnx, "tensorrt", r"tensorrt runs \.engine files, not tiny\.onnx\. Use --backend onnxruntime"),
        (engine, "openvino", r"openvino runs \.onnx files, not a\.engine\. Use --backend tensorrt"),
    ):
        with pytest.raises(UsageError, match=message):
            open_backend(path, backend=backend)


def test_auto_takes_the_engine_that_is_there(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_backend(default_model(), "cpu") as backend:
        assert backend.engine.startswith("onnxruntime")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for model in (tiny_onnx, default_model()):
        with open_backend(model) as backend:
            assert backend.engine.startswith("openvino")
    with pytest.raises(MissingError, match="pip install onnxruntime"):
        open_backend(tiny_onnx, "cuda")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingError, match="pip install onnxruntime"):
        open_backend(tiny_onnx)
    with pytest.raises(MissingError, match="pip install openvino"):
        open_backend(tiny_onnx, backend="openvino")


def test_command_runs_the_engine_it_is_told_and_says_so(command: Callable, tiny_onnx: Path, photos: Path) -> None:
    done = command(main, "--model", tiny_onnx, "--backend", "openvino", "--format", "jsonl", photos)
    assert done.code == 0
    assert "tiny (fp32) on cpu, openvino 20" in done.err
    with Scorer(tiny_onnx, "cpu") as scorer:
        for record in map(json.loads, done.out.splitlines()):
            assert record["score"] == pytest.approx(scorer.score_file(record["source"]).score, abs=1e-3)
    assert len(done.out.splitlines()) == 5
    for arguments, message in (
        (["--backend", "openvino", "--device", "cuda"], "OpenVINO does not run on NVIDIA GPUs"),
        (["--backend", "tensorrt"], "tensorrt runs .engine files"),
        (["--backend", "tflite"], "tflite"),
    ):
        done = command(main, "--model", tiny_onnx, *arguments, photos)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert "Traceback" not in done.err


def test_nothing_else_is_loaded_and_nobody_is_told(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from lifeiqa.runtime.cli import main\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        "unwanted = {'torch', 'timm', 'onnx', 'onnxruntime', 'scipy', 'skimage', 'openvino_telemetry'}\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & unwanted), 'openvino' in sys.modules)"
    )
    arguments = ["--model", str(tiny_onnx), "--backend", "openvino", "--format", "jsonl", str(photos / "rocket.png")]
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[1:] == ["[] True"]
    assert len(done.stderr.splitlines()) == 1  # what runs the model
    assert os.listdir(tmp_path) == []  # OpenVINO's telemetry would leave the client's identity here
