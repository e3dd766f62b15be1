"""`lifeiqa-conformance` from outside, with the packaged model and with a tiny one."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from helpers import altered
from onnx import helper, numpy_helper

from lifeiqa.export.half import to_half
from lifeiqa.runtime.conformance.cli import main
from lifeiqa.runtime.conformance.storage import read_set
from lifeiqa.runtime.manifest import METADATA_KEY

Command = Callable[..., Any]


def shifted(source: Path, target: Path, points: float, **manifest: object) -> Path:
    """A copy whose scores are `points` higher, and whose manifest says other things of it."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["before" if name == "score" else name for name in node.output]
        model.graph.initializer.append(numpy_helper.from_array(np.float32(points), "points"))
        model.graph.node.append(helper.make_node("Add", ["before", "points"], ["score"]))
        (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
        entry.value = json.dumps({**json.loads(entry.value), **manifest})

    return altered(source, target, change)


def results(text: str) -> dict[str, bool | None]:
    return {check["name"]: check["passed"] for check in json.loads(text)["checks"]}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_packaged_model_conforms(backend: str, command: Command) -> None:
    pytest.importorskip(backend)
    done = command(main, "--backend", backend, "--device", "cpu", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["passed"] and len(found["crops"]) == 24
    names = ("scores are numbers", "ranking", "pairs", "picture file turned.jpg", "picture file low.png")
    assert all(any(name.startswith(start) and passed for name, passed in results(done.out).items()) for start in names)
    speeds = [check["values"]["measured"] for check in found["checks"] if check["passed"] is None]
    assert len(speeds) == 2 and min(speeds) > 0
    assert found["model"]["sha256 of the checkpoint"] == read_set().checkpoint_sha256


def test_packaged_set_is_small_and_has_crops_of_all_kinds() -> None:
    golden = read_set()
    assert golden.pixels.shape == (24, 224, 224, 3)
    assert {crop.kind for crop in golden.crops} >= {"sharp", "blur", "noise", "jpeg", "darken", "page", "flat"}
    assert len(golden.pairs) >= 5 and golden.spread > 0.03 * golden.scale.span, "or its ranking cannot be judged"
    folder = Path(__file__).parents[3] / "runtime" / "conformance" / "golden"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1.5e6


def test_sound_export_conforms_and_the_table_says_so(tiny_onnx: Path, tiny_set: Path, command: Command) -> None:
    done = command(main, tiny_onnx, "--set", tiny_set, "--device", "cpu")
    assert (done.code, done.err) == (0, "")
    assert "Conforms: 11 of 11 checks pass." in done.out and "at most 0.01" in done.out
    assert done.out.count("pass ") >= 11 and "FAIL" not in done.out


def test_disturbed_weights_fail_with_4_and_name_the_checks(
    tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command
) -> None:
    def disturb(model: onnx.ModelProto) -> None:
        weights = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        values = np.frombuffer(weights.raw_data, np.float32)
        noise = np.random.default_rng(0).standard_normal(values.size).astype(np.float32)
        weights.raw_data = (values + 0.02 * values.std() * noise).tobytes()

    report = tmp_path / "r.html"
    path = altered(tiny_onnx, tmp_path / "disturbed.onnx", disturb)
    done = command(main, path, "--set", tiny_set, "--device", "cpu", "--report", report)
    assert done.code == 4
    assert "checks fail" in done.err and "crops one by one" in done.err
    assert "FAIL" in done.out and "Does not conform" in report.read_text("utf-8")


def test_scores_that_are_no_numbers_fail(tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command) -> None:
    path, report = shifted(tiny_onnx, tmp_path / "nan.onnx", float("nan")), tmp_path / "r.html"
    done = command(main, path, "--set", tiny_set, "--device", "cpu", "--json", "--report", report)
    assert done.code == 4 and results(done.out)["scores are numbers"] is False
    assert all(passed is not True for name, passed in results(done.out).items() if "difference" in name)
    assert "Nothing could be scored" in report.read_text("utf-8")


def test_tolerance_is_that_of_the_precision(tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command) -> None:
    """A fifth of a point is too far for FP32 and near enough for FP16; two points are too far for FP16, too."""
    for points, precision, code in ((0.2, "fp32", 4), (0.2, "fp16", 0), (2.0, "fp16", 4), (2.0, "int8", 0)):
        path = tmp_path / f"{precision}-{points}.onnx"
        shifted(tiny_onnx, path, points, precision=precision, weights=precision)
        done = command(main, path, "--set", tiny_set, "--device", "cpu")
        assert done.code == code, (points, precision, done.err)


def test_half_precision_conforms_within_its_own_tolerance_alone(
    tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command
) -> None:
    half = altered(tiny_onnx, tmp_path / "half.onnx", lambda model: model.CopyFrom(to_half(model)))
    for precision, code in (("fp16", 0), ("fp32", 4)):
        path = shifted(half, tmp_path / f"{precision}.onnx", 0.0, precision=precision, weights=precision)
        done = command(main, path, "--set", tiny_set, "--device", "cpu", "--json")
        assert done.code == code, done.err
        limits = {check["values"].get("limit") for check in json.loads(done.out)["checks"]}
        assert (0.5 in limits, 0.01 in limits) == (precision == "fp16", precision == "fp32")


def test_other_preprocessing_fails_before_anything_is_scored(
    tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command
) -> None:
    preprocess = {**read_set(tiny_set).preprocess.to_dict(), "crops": 7}
    path, report = shifted(tiny_onnx, tmp_path / "other.onnx", 0.0, preprocess=preprocess), tmp_path / "r.html"
    done = command(main, path, "--set", tiny_set, "--device", "cpu", "--report", report)
    assert done.code == 4 and "another preprocessing" in done.err and report.is_file()


def test_set_of_another_model_is_told_with_the_way_out(tiny_onnx: Path, tiny_set: Path, command: Command) -> None:
    for arguments in ((tiny_onnx,), ("--set", tiny_set)):
        done = command(main, *arguments, "--device", "cpu")
        assert done.code == 2 and "this golden set belongs to" in done.err
        assert "conformance_set.py --ckpt best.pt -o DIR" in done.err


def test_unknown_precision_is_told(tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command) -> None:
    path = shifted(tiny_onnx, tmp_path / "fp8.onnx", 0.0, precision="fp8", weights="fp8")
    done = command(main, path, "--set", tiny_set, "--device", "cpu")
    assert done.code == 2 and "no tolerance for fp8" in done.err


def _damage(folder: Path, how: str) -> None:
    index = folder / "set.json"
    values = json.loads(index.read_text())
    if how == "no set":
        index.unlink()
    elif how == "no crops":
        (folder / "crops.webp").unlink()
    elif how == "cut":
        data = (folder / "crops.webp").read_bytes()
        (folder / "crops.webp").write_bytes(data[: len(data) // 2])
    elif how == "other pixels":
        values["crops"][3]["sha256"] = "0" * 64
    elif how == "other picture":
        (folder / "turned.jpg").write_bytes((folder / "turned.jpg").read_bytes() + b"\0")
    elif how == "other format":
        values["format"] = 99
    elif how == "not a number":
        values["crops"][0]["scores"][1] = float("nan")
    elif how == "outside":
        values["pictures"][0]["file"] = "../secret.jpg"
    elif how == "a list":
        values = []
    if index.is_file():
        index.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "how",
    ["no set", "no crops", "cut", "other pixels", "other picture", "other format", "not a number", "outside", "a list"],
)
def test_damaged_set_is_told(how: str, tiny_onnx: Path, tiny_set: Path, tmp_path: Path, command: Command) -> None:
    folder = Path(shutil.copytree(tiny_set, tmp_path / "set"))
    _damage(folder, how)
    done = command(main, tiny_onnx, "--set", folder, "--device", "cpu")
    assert done.code == 2 and "olden set in" in done.err and "Make it again" in done.err
    assert "Traceback" not in done.err


def test_bad_arguments_are_usage_errors(tiny_set: Path, tmp_path: Path, command: Command) -> None:
    assert command(main, tmp_path / "none.onnx", "--set", tiny_set).code == 2
    assert command(main, "--device", "tpu").code == 2


def test_it_loads_no_training_code_and_nothing_that_reads_onnx() -> None:
    code = (
        "import sys\nfrom lifeiqa.runtime.conformance.cli import main\n"
        "sys.argv = ['x', '--set', 'nowhere']\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "lifeiqa.runtime.conformance.page" in loaded
    assert not {"torch", "timm", "onnx", "scipy", "skimage"} & set(loaded)
