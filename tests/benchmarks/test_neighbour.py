import json
from collections.abc import Callable
from pathlib import Path

import neighbour
import pytest


@pytest.fixture
def run(command: Callable) -> Callable:
    return lambda *arguments: command(lambda: neighbour.run_app(neighbour.app), *arguments)


def test_every_state_of_a_setting_is_timed(run: Callable, tiny_onnx: Path, tmp_path: Path) -> None:
    output = tmp_path / "n.json"
    wanted = ["--setting", "lifeiqa", "--setting", "OpenVINO, lifeiqa"]
    done = run("--model", tiny_onnx, *wanted, "--rounds", 1, "--seconds", 0.05, "--json", output)
    assert done.code == 0, done.err
    assert "fair share" in done.out
    found = json.loads(output.read_text())
    assert (found["kind"], found["format"]) == ("neighbour", 1)
    assert found["configuration"]["precision"] == "fp32"
    assert list(found["settings"]) == ["lifeiqa", "OpenVINO, lifeiqa"]
    for one in found["settings"].values():
        assert min(one.values()) > 0
        assert one["busy_ratio"] == pytest.approx(one["busy_ms"] / one["alone_ms"])
        assert one["fair_share_kept"] == pytest.approx(2 * one["alone_ms"] / one["pair_ms"])


def test_ratios_are_taken_within_a_round() -> None:
    rounds = [
        {"busy_ratio": 2.0, "alone_ms": 1.0},
        {"busy_ratio": 1.0, "alone_ms": 9.0},
        {"busy_ratio": 1.5, "alone_ms": 5.0},
    ]
    assert neighbour.summary(rounds) == {"busy_ratio": 1.5, "alone_ms": 5.0}


def test_unknown_setting_is_a_usage_error(run: Callable, tiny_onnx: Path) -> None:
    done = run("--model", tiny_onnx, "--setting", "fastest")
    assert done.code == 2
    assert "There is no setting 'fastest'" in done.err


def test_process_that_cannot_load_its_model_is_named(tmp_path: Path) -> None:
    process = neighbour.Scoring("lifeiqa", tmp_path / "none.onnx", tmp_path / "none.npy")
    with pytest.raises(neighbour.MissingError, match="The process of 'lifeiqa' ended"):
        process.answer()
    process.close()
