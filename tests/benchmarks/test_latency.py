import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cold_start import cold_start
from contender import Loaded, Task, import_quietly
from contenders import CONTENDERS
from latency import app, interleaved, measure, summary
from latency_entries import Model, entries_of
from picture_stages import STAGES

from lifeiqa.runtime.console import run_app
from lifeiqa.runtime.errors import MissingError

ROOT = Path(__file__).resolve().parents[2]
CROPS = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/latency.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def report(tiny_pt: Path, tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("latency") / "latency.json"
    only = [part for name in ("pytorch", "onnxruntime", "tensorrt", "laplacian") for part in ("--only", name)]
    options = [
        "--rounds",
        3,
        "--batch",
        2,
        "--batch",
        1,
        "--threads",
        1,
        "--starts",
        1,
        "--pictures",
        1,
        "--json",
        path,
    ]
    done = run(tiny_onnx, "--ckpt", tiny_pt, *options, *only)
    assert done.returncode == 0, done.stderr
    for shown in ("ONNX Runtime, fp32", "Cold start", "decode", "instructions: "):
        assert shown in done.stdout
    assert "left out: TensorRT" in done.stderr
    return dict(json.loads(path.read_text()))


def test_file_of_figures_has_every_field(report: dict[str, Any], tiny_pt: Path, tiny_onnx: Path) -> None:
    assert (report["kind"], report["format"]) == ("latency", 1)
    assert report["configuration"]["batches"] == [1, 2]
    assert report["configuration"]["threads"] == 1
    assert report["environment"]["versions"].keys() >= {"onnxruntime", "torch", "numpy", "lifeiqa"}
    families = {one["name"]: one["family"] for one in report["contenders"]}
    assert families == {
        "PyTorch eager": "pytorch",
        "ONNX Runtime, fp32": "lifeiqa",
        "variance of the Laplacian": "classical",
    }
    sizes = [one["size_bytes"] for one in report["contenders"]]
    assert sizes == [tiny_pt.stat().st_size, tiny_onnx.stat().st_size, None]
    for one in report["contenders"]:
        assert one["engine"]
        assert one["precision"]
        assert (one["artifact_sha256"] is None) == (one["size_bytes"] is None)
        assert min(one[key] for key in ("memory_bytes", "import_s", "load_s", "first_s")) > 0
        assert [row["batch"] for row in one["batches"]] == [1, 2]
        for row in one["batches"]:
            assert 0 < row["p5_s"] <= row["median_s"] <= row["p95_s"] <= row["p99_s"]
            assert row["crops_per_s"] == pytest.approx(row["batch"] / row["median_s"])


def test_scores_of_the_same_network_are_compared_crop_by_crop(report: dict[str, Any]) -> None:
    eager, exported, classical = report["contenders"]
    assert report["configuration"]["compared_crops"] == 180
    assert eager["rms_crop"] <= eager["worst_crop"] < 0.01  # other threads sum in another order
    assert 0 < exported["rms_crop"] < exported["worst_crop"] < 0.01
    assert classical["worst_crop"] is classical["rms_crop"] is None


def test_stages_of_one_picture_are_measured(report: dict[str, Any]) -> None:
    assert report["stages"]["picture"] == "1920x1080 JPEG"
    assert all(report["stages"][stage] > 0 for stage in STAGES)


def test_contender_that_cannot_run_here_is_named_with_the_reason(report: dict[str, Any]) -> None:
    assert report["left_out"] == [{"name": "TensorRT", "why": "does not run on cpu"}]


def test_contenders_that_are_not_installed_or_fail_are_named_and_the_others_run(
    tiny_pt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: Task) -> Loaded:
        raise RuntimeError("weights missing\nmore")

    other = replace(CONTENDERS["laplacian"], family="other network")
    absent = replace(other, title="Absent", modules=("no_such_module",), package="no-such-package")
    monkeypatch.setitem(CONTENDERS, "absent", absent)
    monkeypatch.setitem(CONTENDERS, "failing", replace(other, title="Failing", load=fails))
    entries, _ = entries_of(["absent", "failing", "laplacian"], [], tiny_pt, "cpu", 1)
    contenders, left_out = measure(entries, CROPS, [2], rounds=3, starts=0, folder=tmp_path)
    assert [one["name"] for one in contenders] == ["variance of the Laplacian"]
    assert contenders[0]["import_s"] is None
    assert [one["name"] for one in left_out] == ["Absent", "Failing"]
    assert left_out[0]["why"].endswith("pip install no-such-package")
    assert left_out[1]["why"] == "RuntimeError: weights missing"


def test_bug_of_our_own_is_not_hidden_as_left_out(
    tiny_pt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(task: Task) -> Loaded:
        raise RuntimeError("a bug")

    monkeypatch.setitem(CONTENDERS, "ours", replace(CONTENDERS["laplacian"], family="lifeiqa", load=fails))
    entries, _ = entries_of(["ours"], [], tiny_pt, "cpu", 1)
    with pytest.raises(RuntimeError, match="a bug"):
        measure(entries, CROPS, [2], rounds=3, starts=0, folder=tmp_path)


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name not in ("compile", "tensorrt", "nncf")])
def test_contender_scores_in_a_fresh_process(name: str, tiny_pt: Path, tiny_onnx: Path) -> None:
    task = Task(name, tiny_pt, tiny_onnx if CONTENDERS[name].suffix else None, "cpu", 1)
    try:
        found = cold_start(task, CROPS[:1], 1)
    except MissingError as error:
        if " is not installed, or " in str(error) or "has no BF16" in str(error):
            pytest.skip(str(error))
        raise
    assert found.first_s > 0
    assert found.memory_bytes is not None
    assert found.memory_bytes > 20e6


def test_memory_of_the_measuring_process_is_not_counted(tiny_pt: Path) -> None:
    held = np.ones(400_000_000, np.uint8)
    found = cold_start(Task("laplacian", tiny_pt, None, "cpu", 1), CROPS[:1], 1)
    assert found.memory_bytes is not None
    assert found.memory_bytes < held.nbytes


def test_models_are_run_by_every_contender_that_can_and_names_stay_unique(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.onnx", "b.onnx", "x/b.onnx")]
    models = [Model(path, "fp32", "") for path in paths] + [Model(tmp_path / "c.onnx", "int8", "cpu")]
    entries, left_out = entries_of(["pytorch", "onnxruntime", "openvino-bf16", "tensorrt"], models, tmp_path, "cpu", 1)
    names = [entry.name for entry in entries]
    assert names[0] == "PyTorch eager"
    assert names[1:4] == [f"ONNX Runtime, fp32{end}" for end in ("", ", b.onnx", f", b.onnx of {tmp_path / 'x'}")]
    assert names[4] == "ONNX Runtime, int8 cpu"
    assert [entry.precision for entry in entries[5:]] == ["bf16"] * 3
    assert [one["name"] for one in left_out] == ["TensorRT"]
    _, left_out = entries_of(["openvino", "tensorrt"], models, tmp_path, "cuda", 1)
    assert [one["why"] for one in left_out] == [
        "does not run on cuda",
        "needs an .engine file, and none was given",
    ]


def test_rounds_take_turns_and_the_first_is_dropped() -> None:
    calls: list[str] = []
    runs = {name: lambda crops, name=name: calls.append(name) for name in "ab"}
    seconds = interleaved(runs, CROPS, 3)
    assert calls == list("abababab")
    assert [len(seconds[name]) for name in "ab"] == [3, 3]


def test_summary_gives_percentiles_and_the_rate_at_the_median() -> None:
    row = summary(4, [k / 100 for k in range(1, 101)])
    assert row == pytest.approx(
        {"batch": 4, "median_s": 0.505, "p5_s": 0.0595, "p95_s": 0.9505, "p99_s": 0.9901, "crops_per_s": 4 / 0.505}
    )


def test_telemetry_is_hidden_while_a_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "asks_for_telemetry.py"
    module.write_text("try:\n    import openvino_telemetry as found\nexcept ImportError:\n    found = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino_telemetry", raising=False)
    assert import_quietly("asks_for_telemetry").found is None
    assert "openvino_telemetry" not in sys.modules


def test_unknown_contender_is_a_usage_error(command: Callable[..., Any]) -> None:
    done = command(lambda: run_app(app), "--only", "nobody")
    assert done.code == 2
    assert done.err.startswith("error: --only nobody: there is no such contender. There are pytorch, ")
