import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def backbones(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("backbones")


@pytest.fixture
def run(backbones: ModuleType, command: Callable) -> Callable:
    return lambda *arguments: command(lambda: backbones.run_app(backbones.app), *arguments)


def table_of(folder: Path, backbone: str, srocc: list[float | None], **settings: Any) -> Path:
    """What `lifeiqa-tables table1 --format json` prints of one backbone."""
    facts = {"backbones": [backbone], "recipe": "small", "changes": {}, "reading": "paper", "seed": 0}
    row = {"label": "Life-IQA", "parameters": 1_500_000, "by_split": {"livec": srocc}}
    content = {"settings": {**facts, "splits": len(srocc), "pictures": {"livec": 1162}, **settings}, "rows": [row]}
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(content))
    return path


def test_networks_are_timed_in_turns_and_drawn(run: Callable, tmp_path: Path) -> None:
    tables = [table_of(tmp_path, name, [0.8, 0.82, 0.81]) for name in ("test_efficientnet", "tf_efficientnet_lite0")]
    done = run(*tables, "--rounds", 3, "--json", tmp_path / "all.json", "--figure", tmp_path / "all.svg")
    assert done.code == 0, done.err
    assert "tf_efficientnet_lite0" in done.out and "0.810" in done.out
    found = json.loads((tmp_path / "all.json").read_text())
    small, large = found["networks"]
    assert [small["backbone"], large["srocc"]] == ["test_efficientnet", [0.8, 0.82, 0.81]]
    assert all(0 < small["crop_ms"][batch] < large["crop_ms"][batch] for batch in ("1", "8"))
    assert found["configuration"]["recipe"] == "small"
    assert "<!-- tf_efficientnet_lite0 -->" in (tmp_path / "all.svg").read_text()


def test_networks_that_were_trained_otherwise_are_not_compared(run: Callable, tmp_path: Path) -> None:
    tables = [table_of(tmp_path, "a", [0.8]), table_of(tmp_path, "b", [0.8], recipe="paper", seed=1)]
    done = run(*tables)
    assert done.code == 2
    assert "1.json was trained otherwise than" in done.err and "recipe, seed differ" in done.err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": {}, "rows": []}'])
def test_other_files_are_told(run: Callable, content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    done = run(path)
    assert (done.code, "other.json is not what `lifeiqa-tables table1" in done.err) == (2, True)
    assert "Traceback" not in done.err
    assert run(tmp_path / "none.json").code == 2


def test_split_without_a_figure_is_told(run: Callable, tmp_path: Path) -> None:
    assert run(table_of(tmp_path, "a", [0.8, None])).code == 2
