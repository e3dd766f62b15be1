"""`lifeiqa-doctor` from outside: on this machine, and where something is broken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lifeiqa.runtime.zoo import default_model

CODE = "from lifeiqa.runtime.doctor.cli import main; main()"


def doctor(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if path is None else {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def findings(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the findings by name."""
    done = doctor("--json", path=path)
    report = json.loads(done.stdout)
    assert report["healthy"] == (done.returncode == 0)
    return done.returncode, {name: check for section in report["sections"].values() for name, check in section.items()}


@pytest.fixture(scope="module")
def healthy() -> dict[str, dict[str, Any]]:
    code, found = findings(Path("none"))
    broken = {name: check["text"] for name, check in found.items() if check["state"] == "broken"}
    assert (code, broken) == (0, {})
    return found


def test_healthy_machine_is_reported_as_such(healthy: dict[str, dict[str, Any]]) -> None:
    assert healthy["lifeiqa"]["text"]
    assert healthy["Python"]["values"]["version"] == ".".join(map(str, sys.version_info[:3]))
    for name in ("ONNX Runtime", "OpenVINO", "OpenCV", "JPEG", "AVIF", "TIFF", "packaged model", "auto", "self-test"):
        assert healthy[name]["state"] == "ok", healthy[name]
    assert healthy["logical cores"]["values"]["count"] == os.cpu_count()


def test_auto_is_what_a_scorer_takes_and_says_why(healthy: dict[str, dict[str, Any]]) -> None:
    from lifeiqa.runtime import Scorer
    from lifeiqa.runtime.backends import choose_engine

    with Scorer() as scorer:
        found = healthy["auto"]["values"]
        assert found["engine"] == scorer.backend.engine
        assert found["device"] == scorer.backend.device
        assert found["precision"] == scorer.manifest.precision
    assert choose_engine("auto", "int8")[1] in found["why"]
    assert (healthy["auto, FP32 files"]["values"]["engine"], healthy["auto, FP32 files"]["values"]["why"]) == (
        choose_engine("auto", "fp32")
    )


def test_text_has_a_line_for_each_finding_and_no_colours_in_a_pipe() -> None:
    done = doctor()
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "All that is installed works."
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("raise ImportError('libtbb.so.12: cannot open shared object file')", "libtbb.so.12"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("__version__ = '1'", "has no attribute"),
        ("", "holds no package"),
        ("import os; os.abort()", "crashes (SIGABRT)"),
        ("import sys; sys.exit(7)", "ends its process with 7"),
        ("this is no Python", "SyntaxError"),
    ],
)
def test_broken_engine_is_named_and_the_rest_is_reported(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino/__init__.py").write_text(content + "\n")
    code, found = findings(tmp_path)
    assert code == 3
    assert [name for name, check in found.items() if check["state"] == "broken"] == ["OpenVINO"]
    assert reason in found["OpenVINO"]["text"]
    assert "\n" not in found["OpenVINO"]["text"]


def test_broken_default_engine_breaks_the_self_test_too(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime/__init__.py").write_text("raise ImportError('libonnxruntime.so: wrong ELF class')")
    code, found = findings(tmp_path)
    assert code == 3
    assert found["ONNX Runtime"]["state"] == found["self-test"]["state"] == "broken"
    assert "wrong ELF class" in found["self-test"]["text"]


def test_opencv_that_cannot_be_loaded_is_broken_and_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    code, found = findings(tmp_path)
    assert code == 3
    assert "libGL.so.1" in found["OpenCV"]["text"]
    assert "opencv-python-headless" in found["OpenCV"]["text"]
    assert found["ONNX Runtime"]["state"] == "ok", "engines are looked at without OpenCV"
    assert found["self-test"]["state"] == "broken"


def test_summary_names_what_does_not_work(tmp_path: Path) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('x')")
    done = doctor(path=tmp_path)
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1] == "Does not work: OpenVINO."


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of lifeiqa.runtime that may be damaged, for PYTHONPATH."""
    root = Path(__file__).resolve().parents[3]
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "package", tmp_path / "lifeiqa", ignore=skip)
    shutil.copytree(root / "runtime", tmp_path / "lifeiqa/runtime", ignore=skip)
    return tmp_path


def test_changed_byte_of_the_model_is_found(copy: Path) -> None:
    model = copy / "lifeiqa/runtime/zoo" / default_model().name
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    code, found = findings(copy)
    assert code == 3
    assert found["packaged model"]["state"] == "broken"
    assert "is not the file that was packaged" in found["packaged model"]["text"]


@pytest.mark.parametrize("damage", ["absent model", "absent json", "other score", "no json"])
def test_package_that_is_not_whole_is_found(copy: Path, damage: str) -> None:
    model = copy / "lifeiqa/runtime/zoo" / default_model().name
    stored = model.with_suffix(".json")
    if damage == "absent model":
        model.unlink()
    elif damage == "absent json":
        stored.unlink()
    elif damage == "no json":
        stored.write_text("[")
    else:
        stored.write_text(json.dumps({**json.loads(stored.read_bytes()), "score": 60.0}))
    code, found = findings(copy)
    assert code == 3
    assert found["self-test"]["state"] == "broken"
