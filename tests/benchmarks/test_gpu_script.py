import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import gpu_report
import numpy as np
import pytest
from contender_bound import BoundModel

from lifeiqa.runtime.backends import open_backend
from lifeiqa.runtime.errors import MissingError

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/gpu.sh"


def run(*arguments: object, **variables: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable, **{name: str(value) for name, value in variables.items()}}
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def steps_of(folder: Path) -> dict[str, Any]:
    report = json.loads((folder / "summary.json").read_text())
    assert (report["kind"], report["format"]) == ("gpu", 1)
    return {step["step"]: step for step in report["steps"]}


def has_gpu() -> bool:
    return gpu_report.driver() is not None


def test_script_is_clean_shell() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck") is not None:
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


def test_dry_run_prints_every_step_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("--dry-run", tmp_path / "wheels", out)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = ("environment", "gpu tests", "export", "parity onnxruntime", "latency tensorrt", "latency torch.compile")
    for name in names:
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        assert " s  needs: " in line
    assert "--only onnxruntime-graph" in done.stdout
    assert not out.exists()


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_without_a_gpu_steps_that_need_one_are_left_out_and_the_exit_code_says_so(tmp_path: Path) -> None:
    done = run(tmp_path / "wheels", tmp_path / "out", ONLY="environment|install rtx|gpu tests|latency")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "there is no GPU" in done.stderr
    steps = steps_of(tmp_path / "out")
    assert steps["environment"]["result"] == "done"
    assert (steps["install rtx"]["result"], steps["install rtx"]["why"]) == ("left out", "no wheels of it")
    for name in ("gpu tests", "latency onnxruntime", "latency torch.compile"):
        assert (steps[name]["result"], steps[name]["why"]) == ("left out", "no GPU")
        assert f"{name}: left out (no GPU)" in (tmp_path / "out/log.txt").read_text()
    assert "left out" in done.stdout.split("\nstep ")[1]


def test_step_that_fails_is_named_and_the_others_run(tmp_path: Path) -> None:
    broken = tmp_path / "wheels/engines/cuda_bindings-99-py3-none-any.whl"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"no wheel")
    python = tmp_path / "python"  # without packages, so that pip has to take the wheel
    subprocess.run([sys.executable, "-m", "venv", str(python)], check=True)
    options = {"PYTHON": python / "bin/python", "ONLY": "environment|install engines|export"}
    done = run("--cpu", tmp_path / "wheels", tmp_path / "out", **options)
    assert done.returncode == 1, done.stdout + done.stderr
    steps = steps_of(tmp_path / "out")
    assert [step["result"] for step in steps.values()] == ["done", "failed", "left out"]
    assert steps["install engines"]["why"] == "exit code 1, see log.txt"
    assert steps["export"]["why"] == "lifeiqa: not installed"


def test_no_step_begins_when_the_time_is_up(tmp_path: Path) -> None:
    done = run("--cpu", tmp_path / "wheels", tmp_path / "out", BUDGET=3, ONLY="environment|install lifeiqa")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {step["why"] for step in steps_of(tmp_path / "out").values()} == {"no time left of 3 s"}


def test_rehearsal_installs_exports_and_measures(tiny_pt: Path, photos: Path, tmp_path: Path) -> None:
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("this environment cannot build lifeiqa's wheel without a network")
    values = {"CKPT": tiny_pt, "IMAGES": photos, "ROUNDS": 3, "BATCHES": 1, "BUDGET": 500, "PATIENCE": 4}
    only = "environment|install lifeiqa|export|y onnxruntime"
    done = run("--cpu", tmp_path / "wheels", tmp_path / "out", **values, ONLY=only)
    results = {name: step["result"] for name, step in steps_of(tmp_path / "out").items()}
    assert list(results) == ["environment", "install lifeiqa", "export", "parity onnxruntime", "latency onnxruntime"]
    export = results.pop("export")  # FP16 of a network with random weights may be refused; FP32 goes on then
    assert set(results.values()) == {"done"}, done.stdout
    assert done.returncode == (0 if export == "done" else 1)
    parity = json.loads((tmp_path / "out/parity-onnxruntime.json").read_text())
    assert "fp32" in {row["precision"] for row in parity["artifacts"]}
    latency = json.loads((tmp_path / "out/latency-onnxruntime.json").read_text())
    assert {"PyTorch eager", "ONNX Runtime, fp32"} <= {one["name"] for one in latency["contenders"]}


@pytest.mark.parametrize("arguments", [["--fast"], ["a", "b", "c"], ["wheels"], ["wheels", "folder", "everything"]])
def test_wrong_use_is_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: usage: ")
    assert len(done.stderr.splitlines()) == 1


def test_requirements_are_those_of_the_wheel_without_engines(tmp_path: Path) -> None:
    wheel = tmp_path / "lifeiqa-1-py3-none-any.whl"
    lines = ["numpy>=1", 'onnx>=1.17; extra == "export"', 'torch>=2; extra == "export"', 'ray; extra == "cluster"']
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("lifeiqa-1.dist-info/METADATA", "".join(f"Requires-Dist: {line}\n" for line in lines))
    assert gpu_report.requirements(wheel, "export") == ["numpy>=1", "onnx>=1.17"]


def test_every_fact_is_there_or_has_its_reason() -> None:
    found, lacks = gpu_report.facts("cpu")
    assert found["torch"]
    assert "lifeiqa" not in lacks
    for name, value in found.items():
        assert (value is None) == (name in lacks)


def test_fixed_shapes_and_bound_buffers_give_the_same_scores(tiny_onnx: Path) -> None:
    model = BoundModel(tiny_onnx, "cpu", 1, graph=False)
    with open_backend(tiny_onnx, "cpu", 1) as backend:
        for seed, count in enumerate((2, 1, 2, 3)):
            crops = crops_of_noise(seed, count)
            np.testing.assert_allclose(model.score(crops), backend.infer(crops), atol=1e-5)
    model.close()


@pytest.mark.skipif(has_gpu(), reason="a GPU is here")
def test_bound_model_without_cuda_says_what_is_missing(tiny_onnx: Path) -> None:
    with pytest.raises(MissingError, match=r"onnxruntime-gpu|cannot"):
        BoundModel(tiny_onnx, "cuda", 0, graph=True).score(crops_of_noise(0, 1))


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("graph", [False, True])
def test_bound_model_on_a_real_gpu_reads_every_batch_anew(tiny_onnx: Path, graph: bool) -> None:
    pytest.importorskip("torch").cuda.is_available()  # loads CUDA's libraries
    model = BoundModel(tiny_onnx, "cuda", 0, graph)
    with open_backend(tiny_onnx, "cpu", 1) as backend:
        for seed, count in enumerate((2, 2, 1, 2, 1)):
            crops = crops_of_noise(seed, count)
            np.testing.assert_allclose(model.score(crops), backend.infer(crops), atol=5e-3)  # TF32
    model.close()


def crops_of_noise(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3), np.uint8)
