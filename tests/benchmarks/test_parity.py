import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tampered(tiny_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = onnx.load(tiny_onnx)
    weights = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * 1.05, weights.name))
    path = tmp_path_factory.mktemp("tampered") / "tampered.onnx"
    onnx.save(model, path)
    return path


def test_faithful_artifact_passes_and_the_figures_are_written(
    tiny_pt: Path, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    done = run("parity.py", tiny_onnx, "--ckpt", tiny_pt, "--images", photos, "--json", tmp_path / "parity.json")
    assert done.returncode == 0, done.stderr
    assert "tiny.onnx" in done.stdout
    report = json.loads((tmp_path / "parity.json").read_text())
    (row,) = report["artifacts"]
    assert report["pictures"] == row["count"] == 5
    assert row["worst"] <= row["limit"]["worst"]
    assert row["ok"] is True


def test_tampered_artifact_ends_with_4_and_is_named(tiny_pt: Path, tampered: Path, photos: Path) -> None:
    done = run("parity.py", tampered, "--ckpt", tiny_pt, "--images", photos)
    assert done.returncode == 4
    assert "FAILED" in done.stdout
    assert done.stderr.startswith("error: tampered.onnx: worst difference")


def test_figures_beyond_the_limits_never_become_the_reference(
    tiny_pt: Path, tampered: Path, photos: Path, tmp_path: Path
) -> None:
    new = tmp_path / "reference.json"
    done = run("parity.py", tampered, "--ckpt", tiny_pt, "--images", photos, "--update", "--reference", new)
    assert done.returncode == 4
    assert not new.exists()


def test_artifact_of_another_checkpoint_is_not_compared(tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    from helpers import make_checkpoint

    from lifeiqa.models.checkpoints.own_format import save_checkpoint

    save_checkpoint(make_checkpoint(training={"labels": "others"}), tmp_path / "other.pt")
    done = run("parity.py", tiny_onnx, "--ckpt", tmp_path / "other.pt", "--images", photos)
    assert done.returncode == 2
    assert "comes from another checkpoint" in done.stderr
