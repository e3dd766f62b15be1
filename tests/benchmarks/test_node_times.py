import json
import subprocess
import sys
from pathlib import Path

import pytest

from lifeiqa.runtime.scorer import default_model

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "node_times.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_every_node_has_a_time_and_a_group(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    done = run(default_model(), "--backend", backend, "--runs", 3, "--json", tmp_path / "nodes.json")
    assert done.returncode == 0, done.stderr
    assert "pointwise convolutions" in done.stdout
    report = json.loads((tmp_path / "nodes.json").read_text())
    groups = {row["group"]: row for row in report["groups"]}
    assert {"stem", "depthwise convolutions", "pointwise convolutions", "matrix products with weights"} <= set(groups)
    assert groups["depthwise convolutions"]["nodes"] == 16
    assert sum(row["share"] for row in report["groups"]) == pytest.approx(1)
    assert sum(row["nodes"] for row in report["groups"]) == len(report["nodes"])
    assert all(node["seconds"] >= 0 for node in report["nodes"])


def test_what_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("hello")
    done = run(tmp_path / "a.onnx")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
