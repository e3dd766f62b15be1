"""The package as a whole: version, list of commands, what is loaded when, and what it depends on."""

import re
import subprocess
import sys
from importlib.metadata import entry_points, requires, version
from pathlib import Path

import pytest

import lifeiqa

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"cv2", "torch", "onnx", "onnxruntime", "openvino", "scipy", "timm", "matplotlib"}
COMMANDS = sorted(entry.name for entry in entry_points(group="console_scripts") if entry.value.startswith("lifeiqa."))
MODULES = sorted(entry.module for entry in entry_points(group="console_scripts") if entry.value.startswith("lifeiqa."))


def python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_version_is_the_one_of_what_is_installed() -> None:
    assert lifeiqa.__version__ == version("lifeiqa")
    with pytest.raises(AttributeError):
        lifeiqa.__nothing__  # noqa: B018


def test_version_stands_only_in_pyproject() -> None:
    written = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert written
    assert not [p for p in (ROOT / "package").glob("*.py") if written[1] in p.read_text()]


def test_module_lists_every_command_with_what_it_does() -> None:
    listed = dict(
        line.split(maxsplit=1) for line in python("-m", "lifeiqa").splitlines() if line.startswith("lifeiqa-")
    )
    assert sorted(listed) == COMMANDS
    assert all(len(purpose) > 15 for purpose in listed.values())
    assert python("-m", "lifeiqa", "--version") == f"lifeiqa {version('lifeiqa')}\n"


@pytest.mark.parametrize("module", ["lifeiqa", "lifeiqa.runtime", "lifeiqa.__main__", *MODULES])
def test_import_of_a_front_door_loads_nothing_heavy(module: str) -> None:
    loaded = python("-c", f"import sys, {module}; print(*sys.modules)").split()
    assert HEAVY & {name.split(".")[0] for name in loaded} == set()


def test_list_of_commands_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lifeiqa.__main__ import main\ntry: main()\nexcept SystemExit: print('loaded', *sys.modules)"
    )
    loaded = python("-c", code).rpartition("loaded ")[2].split()
    assert HEAVY & {name.split(".")[0] for name in loaded} == set()


def test_runtime_gives_its_names_when_asked() -> None:
    import lifeiqa.runtime

    assert all(getattr(lifeiqa.runtime, name).__name__ == name for name in lifeiqa.runtime.__all__)
    assert set(lifeiqa.runtime.__all__) <= set(dir(lifeiqa.runtime))
    with pytest.raises(AttributeError):
        lifeiqa.runtime.Scorerr  # noqa: B018
    with pytest.raises(ImportError):
        from lifeiqa.runtime import Scorerr  # noqa: F401


def test_folder_in_the_working_directory_does_not_hide_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import lifeiqa; print(lifeiqa.__version__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == version("lifeiqa")


def _extras(name: str) -> dict[str, set[str]]:
    """The extras that bring a package, and their requirements of it; "" stands for the base."""
    found: dict[str, set[str]] = {}
    for line in requires("lifeiqa") or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r'extra == "(\w+)"', marker)
        if re.split(r"[<>=!~\[ ]", requirement.strip())[0] == name:
            found.setdefault(extra[1] if extra else "", set()).add(requirement.strip())
    return found


def test_opencv_comes_without_windows_and_never_to_a_jetson() -> None:
    assert _extras("opencv-python") == {}
    assert set(_extras("opencv-python-headless")) == {"cpu", "gpu", "openvino", "rtx", "export", "train"}
    assert _extras("pycuda").keys() == {"jetson"}
    assert any("<2" in requirement for requirement in _extras("numpy")["jetson"])


def test_nothing_opens_a_window_of_opencv() -> None:
    sources = [
        p
        for folder in ("runtime", "calibration", "models", "export", "benchmarks", "package")
        for p in (ROOT / folder).rglob("*.py")
    ]
    assert len(sources) > 50
    calls = re.compile(r"cv2\.(imshow|namedWindow|waitKey|selectROI|createTrackbar|destroy\w*)")
    assert [str(p) for p in sources if calls.search(p.read_text())] == []


def test_every_module_takes_opencv_from_one_place() -> None:
    folders = ("runtime", "calibration", "models", "export", "benchmarks", "package")
    importers = [
        p.relative_to(ROOT)
        for folder in folders
        for p in (ROOT / folder).rglob("*.py")
        if "import cv2\n" in p.read_text().replace("opencv import cv2\n", "")
    ]
    assert importers == [Path("runtime/opencv.py")]
