"""OpenCV that is missing, or cannot be loaded: one line and exit code 3, from every command and from Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAILURES = {
    "missing": (
        "raise ModuleNotFoundError(\"No module named 'cv2'\", name='cv2')",
        "OpenCV is not installed. Install it: ",
    ),
    "libGL": (
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
        "OpenCV is installed, but cannot be loaded (libGL.so.1: cannot open shared object file",
    ),
    "remnant": ("", "only a remnant of it is there"),
    "numpy": ("raise ImportError('numpy.core.multiarray failed to import')", "pip install 'numpy<2'"),
}


def hidden_opencv(folder: Path, failure: str) -> dict[str, str]:
    """An environment in which `import cv2` fails."""
    (folder / "cv2.py").write_text(FAILURES[failure][0] + "\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def run(code: str, environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("failure", FAILURES)
def test_run_says_in_one_line_what_to_install(tmp_path: Path, photos: Path, failure: str) -> None:
    code = "from lifeiqa.runtime.cli import main; main()"
    done = run(code, hidden_opencv(tmp_path, failure), photos / "rocket.png")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: OpenCV is ")
    assert FAILURES[failure][1] in done.stderr
    assert "pip install" in done.stderr


COMMANDS = {
    "lifeiqa.export.cli": ["--ckpt", "{ckpt}", "-o", "{tmp}/out", "--target", "onnx"],
    "lifeiqa.models.commands.train": ["--data", "csv={tmp}/labels.csv", "-o", "{tmp}/run"],
    "lifeiqa.models.commands.evaluate": ["{ckpt}", "--data", "csv={tmp}/labels.csv"],
    "lifeiqa.models.commands.synth": ["--photos", "{tmp}", "--list", "{tmp}/labels.csv", "-o", "{tmp}/set"],
    "lifeiqa.models.commands.tables": ["table1", "--data", "csv={tmp}/labels.csv"],
    "lifeiqa.models.commands.figures": ["attention", "{photo}", "--ckpt", "{ckpt}", "-o", "{tmp}/a.png"],
}


@pytest.mark.parametrize("module", COMMANDS)
def test_every_other_command_says_it_too(tmp_path: Path, tiny_pt: Path, photos: Path, module: str) -> None:
    (tmp_path / "labels.csv").write_text(f"path,score\n{photos / 'rocket.png'},1\n")
    names = {"tmp": tmp_path, "ckpt": tiny_pt, "photo": photos / "rocket.png"}
    arguments = [argument.format(**names) for argument in COMMANDS[module]]
    done = run(f"from {module} import main; main()", hidden_opencv(tmp_path, "missing"), *arguments)
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: OpenCV is not installed. Install it: pip install")
    assert "Traceback" not in done.stderr


def test_python_gets_the_same_line_as_an_error(tmp_path: Path) -> None:
    code = (
        "from lifeiqa.runtime import LifeIQAError, Manifest, PreprocessSpec\n"
        "try: from lifeiqa.runtime import Scorer\n"
        "except LifeIQAError as error: print(type(error).__name__, error)"
    )
    done = run(code, hidden_opencv(tmp_path, "missing"))
    assert done.stdout.startswith(
        "MissingError OpenCV is not installed. Install it: pip install opencv-python-headless"
    )
    assert done.stderr == ""
