import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import make_checkpoint

from lifeiqa.calibration.graph import weighted_nodes
from lifeiqa.calibration.pictures import PictureSet
from lifeiqa.calibration.qdq import quantize
from lifeiqa.calibration.statistics import Method, measure_statistics
from lifeiqa.export import onnx_file
from lifeiqa.export.cli import main
from lifeiqa.export.engine import EngineOptions, build_engine
from lifeiqa.export.half import to_half
from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.backends.engine_info import read_plan, read_sidecar, sidecar_path
from lifeiqa.runtime.errors import EngineError, LifeIQAError
from lifeiqa.runtime.manifest import Manifest

pytest.importorskip("tensorrt_rtx", reason="building engines without a GPU needs tensorrt-rtx")

SHIPPED = Path(__file__).resolve().parents[2] / "models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt"
SWIN = LifeIQAConfig(backbone="swin_tiny_patch4_window7_224", dim=48, decoder_layers=1, expert_hidden=32)


def onnx_files(ckpt: Path, folder: Path, astronaut: np.ndarray) -> dict[str, tuple[Path, Manifest]]:
    """One ONNX file of each precision, as TensorRT takes them."""
    checkpoint = load_checkpoint(ckpt)
    model = onnx_file.trace(checkpoint)
    crops = np.stack([astronaut[y : y + 224, 100:324] for y in (0, 100, 200, 280)])
    statistics, _ = measure_statistics(model, PictureSet("one", (crops,), None, ""), Method.minmax)
    graphs = {
        "fp32": model,
        "fp16": to_half(model),
        "int8": quantize(model, statistics, [node.name for node in weighted_nodes(model)], "tensorrt"),
    }
    found = {}
    for precision, graph in graphs.items():
        manifest = onnx_file.build_manifest(checkpoint, ckpt.stem, False)
        values = json.loads(manifest.to_json())
        values |= {"precision": precision, "weights": precision, "flavor": "tensorrt" if precision == "int8" else ""}
        manifest = Manifest.from_metadata({"lifeiqa_manifest": json.dumps(values)}, "test")
        path = folder / f"{ckpt.stem}.{precision}.onnx"
        onnx_file.write(graph, manifest, path)
        found[precision] = path, manifest
    return found


@pytest.fixture(scope="module")
def lite0(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> dict[str, tuple[Path, Manifest]]:
    return onnx_files(SHIPPED, tmp_path_factory.mktemp("lite0"), astronaut)


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory, astronaut: np.ndarray) -> dict[str, tuple[Path, Manifest]]:
    folder = tmp_path_factory.mktemp("swin")
    save_checkpoint(make_checkpoint(SWIN), folder / "swin.pt")
    return onnx_files(folder / "swin.pt", folder, astronaut)


@pytest.mark.parametrize("network", ["lite0", "swin"])
def test_every_precision_is_really_built_and_described(
    network: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    sizes = {}
    for precision, (path, manifest) in request.getfixturevalue(network).items():
        target, seen = tmp_path / f"{precision}.engine", []
        options = EngineOptions((1, 2, 8), workspace_mib=512)
        info = build_engine(path, target, manifest, "tensorrt_rtx", options, lambda *step, seen=seen: seen.append(step))
        assert target.stat().st_size == info.size_bytes
        assert hashlib.sha256(target.read_bytes()).hexdigest() == info.sha256
        assert read_sidecar(target) == (manifest, info)
        assert read_plan(target, info) == target.read_bytes()
        assert (info.batch, info.builder, info.compute_capability) == ((1, 2, 8), "tensorrt_rtx", "")
        assert len(seen) > 10
        assert all(0 <= done <= total for done, total, _ in seen)
        sizes[precision] = info.size_bytes
    assert sizes["fp16"] < 0.65 * sizes["fp32"]
    assert sizes["int8"] < 0.65 * sizes["fp32"]  # small matrices take less room in FP16 than with their scales


def test_engine_opens_or_says_in_one_sentence_what_is_missing(
    lite0: dict[str, tuple[Path, Manifest]], tmp_path: Path
) -> None:
    path, manifest = lite0["fp16"]
    build_engine(path, tmp_path / "a.engine", manifest, "tensorrt_rtx")
    try:
        open_backend(tmp_path / "a.engine").close()
    except LifeIQAError as error:
        assert "GPU" in str(error) or "driver" in str(error)


def test_graph_that_tensorrt_does_not_take_is_named_and_nothing_is_written(
    lite0: dict[str, tuple[Path, Manifest]], tmp_path: Path
) -> None:
    path, manifest = lite0["fp32"]
    model = onnx.load(path)
    node = next(node for node in model.graph.node if node.op_type == "TopK")
    node.op_type, node.domain = "Frobnicate", "nowhere"
    onnx.save(model, tmp_path / "odd.onnx")
    (tmp_path / "a.engine").write_bytes(b"old")
    with pytest.raises(EngineError, match=r"does not take odd\.onnx: .*Frobnicate"):
        build_engine(tmp_path / "odd.onnx", tmp_path / "a.engine", manifest, "tensorrt_rtx")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(EngineError, match=r"does not take cut\.onnx"):
        build_engine(tmp_path / "cut.onnx", tmp_path / "a.engine", manifest, "tensorrt_rtx")
    assert (tmp_path / "a.engine").read_bytes() == b"old"
    assert not sidecar_path(tmp_path / "a.engine").exists()


def test_engines_are_built_from_files_exported_before(
    lite0: dict[str, tuple[Path, Manifest]], tmp_path: Path, command: Callable[..., Any]
) -> None:
    files = [option for precision in ("fp32", "int8") for option in ("--onnx", lite0[precision][0])]
    done = command(main, *files, "-o", tmp_path, "--target", "tensorrt-rtx", "--batch", "1,1,2", "--json")
    assert done.code == 0, done.err
    built = json.loads(done.out)["artifacts"]
    assert [Path(artifact["path"]).name for artifact in built] == [
        "lifeiqa-lite0.fp32.engine",
        "lifeiqa-lite0.int8.engine",
    ]
    assert built[1]["engine"]["batch"] == [1, 1, 2]
    assert "building lifeiqa-lite0.int8.engine" in done.err
    again = command(main, *files, "-o", tmp_path, "--target", "tensorrt-rtx")
    assert again.code == 2
    assert "--force" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--onnx", "missing.onnx"), "There is no missing.onnx"),
        (("--onnx", "{int8cpu}"), "name best.int8.tensorrt.onnx"),
        (("--onnx", "{fp32}", "--target", "onnx"), "--target onnx asks for none"),
        (("--onnx", "{fp32}", "--fp16", "--calib-data", "x"), "--fp16 and --calib-data can do nothing here"),
        (("--ckpt", "x.pt", "--calib-data", "x"), "--calib-data can do nothing here: add --int8 or --fp16"),
        (("--ckpt", "x.pt", "--fp16", "--calib-cache", "x"), "--calib-cache can do nothing here"),
        (("--onnx", "{fp32}", "--onnx", "{fp32}", "--target", "tensorrt-rtx"), "would both become"),
        (("--onnx", "{fp32}", "--target", "tensorrt-rtx", "--timing-cache", "x"), "--timing-cache can do nothing for"),
        (
            ("--onnx", "{fp32}", "--target", "tensorrt-rtx", "--version-compatible"),
            "--version-compatible can do nothing",
        ),
        (("--onnx", "{fp32}", "--batch", "1,4,5000"), "MAX <= 4096"),
        (("--ckpt", "x.pt", "--target", "onnx", "--workspace", "64"), "--workspace can do nothing here"),
        (("--onnx", "{fp32}", "--batch", "4,1,2"), "--batch is MIN,OPT,MAX"),
        (("--onnx", "{fp32}", "--ckpt", "x.pt"), "Name a checkpoint with --ckpt, or"),
        ((), "Name a checkpoint with --ckpt, or"),
        (("--onnx", "{fp32}", "--target", "tensorrt"), "tensorrt is not installed. Install it: pip install tensorrt"),
    ],
)
def test_wrong_requests_are_refused(
    arguments: tuple[str, ...],
    message: str,
    lite0: dict[str, tuple[Path, Manifest]],
    tmp_path: Path,
    command: Callable[..., Any],
) -> None:
    if "tensorrt" in arguments and importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("plain TensorRT is installed here")
    path, _ = lite0["int8"]
    model = onnx.load(path)
    entry = next(entry for entry in model.metadata_props if entry.key == "lifeiqa_manifest")
    entry.value = json.dumps({**json.loads(entry.value), "flavor": "cpu"})
    onnx.save(model, tmp_path / "best.int8.onnx")
    places = {"int8cpu": tmp_path / "best.int8.onnx", "fp32": lite0["fp32"][0]}
    done = command(main, *(argument.format(**places) for argument in arguments), "-o", tmp_path / "out")
    assert done.code in (2, 3)
    assert message in done.err
    assert "Traceback" not in done.err


def run_build(path: Path, folder: Path, prelude: str = "") -> subprocess.Popen[str]:
    code = f"{prelude}\nfrom lifeiqa.export.cli import main; main()"
    arguments = ["--onnx", str(path), "-o", str(folder), "--target", "tensorrt-rtx", "--force"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_build(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    assert any(line.startswith("building") for line in process.stderr), "it ended before it built"


def child_of(process: subprocess.Popen[str]) -> int:
    """The process that TensorRT works in, as soon as it is there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("this system does not tell the children of a process")
    for _ in range(200):
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise AssertionError("it started no process")


def is_running(process: int) -> bool:
    """Also False for one that has ended and that its parent has not asked after."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.7, 1.2])  # starting, reading the graph, building
def test_interrupted_build_leaves_the_old_engine(
    seconds: float, swin: dict[str, tuple[Path, Manifest]], tmp_path: Path
) -> None:
    target = tmp_path / "swin.fp32.engine"
    target.write_bytes(b"old")
    with run_build(swin["fp32"][0], tmp_path) as process:
        wait_for_build(process)
        child_of(process)
        time.sleep(seconds)
        if process.poll() is not None:
            pytest.skip(f"this machine builds in less than {seconds} s")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        rest = process.stderr.read()
        assert process.wait() == 130, rest
    assert "Traceback" not in rest
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["swin.fp32.engine"]


@pytest.mark.parametrize(("sent", "named"), [("SIGSEGV", "Segmentation fault"), ("SIGKILL", "Killed. Was there too")])
def test_crash_of_tensorrt_is_an_error_and_leaves_the_old_engine(
    sent: str, named: str, swin: dict[str, tuple[Path, Manifest]], tmp_path: Path
) -> None:
    target = tmp_path / "swin.fp32.engine"
    target.write_bytes(b"old")
    with run_build(swin["fp32"][0], tmp_path) as process:
        wait_for_build(process)
        child = child_of(process)
        os.kill(child, signal.Signals[sent])
        _, err = process.communicate()
    assert process.returncode == EngineError.exit_code, err
    assert f"tensorrt_rtx crashed building an engine from swin.fp32.onnx: {named}" in " ".join(err.split())
    assert "Traceback" not in err
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["swin.fp32.engine"]


def test_bug_while_building_has_its_traceback(
    lite0: dict[str, tuple[Path, Manifest]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, manifest = lite0["fp32"]
    options = EngineOptions(("one", 2, 8))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="ended with code 1"):
        build_engine(path, tmp_path / "a.engine", manifest, "tensorrt_rtx", options)
    assert "Traceback" in capfd.readouterr().err
    assert os.listdir(tmp_path) == []


def test_build_does_not_outlive_the_command(swin: dict[str, tuple[Path, Manifest]], tmp_path: Path) -> None:
    with run_build(swin["fp32"][0], tmp_path) as process:
        wait_for_build(process)
        child = child_of(process)
        process.kill()
    for _ in range(1200):
        if not is_running(child):
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("it goes on building for nobody")


def test_full_disk_leaves_the_old_engine(lite0: dict[str, tuple[Path, Manifest]], tmp_path: Path) -> None:
    target = tmp_path / "lifeiqa-lite0.fp32.engine"
    target.write_bytes(b"old")
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))"
    with run_build(lite0["fp32"][0], tmp_path, limit) as process:
        _, err = process.communicate()
    assert process.returncode == 3, err
    assert "Cannot write" in err
    assert "Traceback" not in err
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [target.name]
