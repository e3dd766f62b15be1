"""No import runs upwards: a room uses only the rooms on the floors below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# room -> floor; CONTRIBUTING.md and docs/explanations/architecture.md draw it
PACKAGES = {"runtime": 0, "calibration": 1, "models": 1, "export": 2}
ROOMS = {
    "models": {
        "network": 1,
        "checkpoints": 2,
        "datasets": 2,
        "evaluation": 3,
        "synthesis": 3,
        "training": 4,
        "paper": 5,
        "commands": 6,
    },
    "runtime": {
        "arrays": 0,
        "arrow": 1,
        "errors": 0,
        "zoo": 0,
        "command_line": 1,
        "files": 1,
        "limits": 1,
        "opencv": 1,
        "processor": 1,
        "console": 2,
        "images": 2,
        "preprocess": 2,
        "sources": 3,
        "manifest": 3,
        "backends": 4,
        "scorer": 5,
        "sinks": 6,
        "report": 7,
        "scoring": 8,
        "cli": 9,
        "conformance": 9,
        "doctor": 9,
    },
}


def imports_of(path: Path) -> set[str]:
    """Every lifeiqa module that a file imports, at its top, in a function or for types alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: relative imports are not followed by this test"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("lifeiqa.")}


def upward(path: Path, package: str, floors: dict[str, int], depth: int) -> list[str]:
    """Imports of a file that lead to another room on its own floor or above. `depth` is the room's place in a name."""
    own = path.relative_to(ROOT).with_suffix("").parts[depth - 1]
    wrong = []
    for name in imports_of(path):
        parts = name.split(".")
        if len(parts) <= depth or (depth == 2 and parts[1] != package) or parts[depth] not in floors:
            continue
        if parts[depth] != own and floors[parts[depth]] >= floors[own]:
            wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    return wrong


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_a_floor(package: str) -> None:
    parts = {path.stem if path.suffix == ".py" else path.name for path in (ROOT / package).iterdir()}
    rooms = {p for p in parts if (ROOT / package / p / "__init__.py").exists() or (ROOT / package / f"{p}.py").exists()}
    assert rooms - {"__init__", "__main__"} <= ROOMS[package].keys()


@pytest.mark.parametrize("package", ROOMS)
def test_no_room_imports_one_beside_or_above_it(package: str) -> None:
    floors = ROOMS[package]
    files = [
        p for p in (ROOT / package).rglob("*.py") if p.relative_to(ROOT / package).with_suffix("").parts[0] in floors
    ]
    assert len(files) > 20
    assert [line for path in files for line in upward(path, package, floors, 2)] == []


def test_no_package_imports_one_beside_or_above_it() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert [line for path in files for line in upward(path, "", PACKAGES, 1)] == []


def test_an_import_that_runs_upwards_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "models" / "network" / "moe.py"
    path.parent.mkdir(parents=True)
    path.write_text("def f():\n    from lifeiqa.models.training import trainer\n    import lifeiqa.export.half\n")
    assert upward(path, "models", ROOMS["models"], 2) and upward(path, "", PACKAGES, 1)
    path.write_text("from lifeiqa.models.network import config\nfrom lifeiqa.runtime import errors\n")
    assert not upward(path, "models", ROOMS["models"], 2) and not upward(path, "", PACKAGES, 1)
