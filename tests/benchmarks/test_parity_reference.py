import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import parity
import parity_reference
import pytest
from common import SHIPPED

from lifeiqa.calibration import limit_for
from lifeiqa.runtime.console import run_app
from lifeiqa.runtime.errors import UsageError

ROW = {
    "artifact": "a.int8.onnx",
    "precision": "int8",
    "flavor": "cpu",
    "weights": "int8",
    "engine": "onnxruntime 1.32.0 on cpu",
    "count": 180,
    "worst": 0.012,
    "mean": 0.002,
    "srocc": 0.9998,
    "plcc": 0.9999,
    "kept": 6,
    "size_bytes": 10_000_000,
}


def verdicts(*rows: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.figure, one.verdict) for one in parity_reference.changes({"artifacts": [ROW]}, rows)]


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [
        ("worst", 0.0194, ""),
        ("worst", 0.0196, "worse"),
        ("worst", 0.0071, ""),
        ("worst", 0.0069, "better"),
        ("worst", float("nan"), "worse"),
        ("mean", 0.0027, ""),
        ("mean", 0.0029, "worse"),
        ("mean", 0.0014, ""),
        ("mean", 0.0013, "better"),
        ("srocc", 0.99969, ""),
        ("srocc", 0.99967, "worse"),
        ("srocc", 0.99989, "better"),
        ("plcc", 0.9998, "worse"),
        ("kept", 8, ""),
        ("kept", 9, "worse"),
        ("kept", 3, "better"),
        ("size_bytes", 10_090_000, ""),
        ("size_bytes", 10_200_000, "worse"),
        ("size_bytes", 9_800_000, "better"),
    ],
)
def test_figure_may_be_neither_worse_nor_better_than_its_tolerance(figure: str, value: float, verdict: str) -> None:
    assert verdicts({**ROW, figure: value}) == ([(figure, verdict)] if verdict else [])


def test_rounding_of_a_perfect_figure_is_no_change() -> None:
    exact = {**ROW, "precision": "fp32", "weights": "fp32", "worst": 1e-6, "mean": 1e-7, "srocc": 1.0, "plcc": 1.0}
    other = {**exact, "worst": 4e-6, "mean": 6e-7, "srocc": 0.999999}
    assert parity_reference.changes({"artifacts": [exact]}, [other]) == []
    assert parity_reference.changes({"artifacts": [other]}, [exact]) == []


def test_a_change_names_row_figure_and_both_values() -> None:
    (change,) = parity_reference.changes({"artifacts": [ROW]}, [{**ROW, "worst": 0.025}])
    assert str(change) == (
        "a.int8.onnx (int8 cpu, int8 weights, onnxruntime on cpu, 180 scores): worst is worse, 0.025, reference 0.012"
    )


def test_rows_are_the_same_in_another_version_of_an_engine_only() -> None:
    assert verdicts({**ROW, "engine": "onnxruntime 1.40.0 on cpu"}) == []
    assert verdicts({**ROW, "engine": "openvino 2026.4 on cpu"}) == [("", "missing"), ("", "new")]
    assert verdicts({**ROW, "count": 5}) == [("", "missing"), ("", "new")]
    assert verdicts() == [("", "missing")]
    assert verdicts(ROW, {**ROW, "flavor": "tensorrt"}) == [("", "new")]


@pytest.fixture
def run(command: Callable[..., Any], tiny_pt: Path, tiny_onnx: Path, photos: Path) -> Callable[..., Any]:
    own = (tiny_onnx, "--ckpt", tiny_pt, "--images", photos)
    return lambda *options: command(lambda: run_app(parity.app), *own, *options)


@pytest.fixture
def reference(run: Callable[..., Any], tmp_path: Path) -> Path:
    done = run("--update", "--reference", tmp_path / "reference.json")
    assert done.code == 0, done.err
    return tmp_path / "reference.json"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def test_figures_that_were_written_are_found_again(run: Callable[..., Any], reference: Path, tmp_path: Path) -> None:
    done = run("--reference", reference, "--json", tmp_path / "parity.json")
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "parity.json").read_text())
    held = json.loads(reference.read_text())
    assert report["reference"] == {**held, "left_out": "", "changes": []}
    (row,) = held["artifacts"]
    assert {name: report["artifacts"][0][name] for name in row} == row
    (line,) = [line for line in done.out.splitlines() if "tiny.onnx" in line]
    assert line.count(f"{row['worst']:.1e}") == 2


@pytest.mark.parametrize(
    ("figure", "value", "verdict"), [("size_bytes", 1000, "worse"), ("size_bytes", 90_000_000, "better")]
)
def test_run_off_the_reference_ends_with_4_and_is_told_how_to_update(
    figure: str, value: int, verdict: str, run: Callable[..., Any], reference: Path, tmp_path: Path
) -> None:
    edit(reference, lambda held: held["artifacts"][0].update({figure: value}))
    done = run("--reference", reference, "--json", tmp_path / "parity.json")
    assert done.code == 4
    (line,) = [line for line in done.out.splitlines() if "tiny.onnx" in line]
    assert verdict in line
    assert f"{figure} is {verdict}" in done.err and f"reference {value}" in done.err
    assert done.err.rstrip().endswith("python benchmarks/parity.py --update")
    (change,) = json.loads((tmp_path / "parity.json").read_text())["reference"]["changes"]
    assert (change["figure"], change["verdict"], change["reference"]) == (figure, verdict, value)


def test_other_versions_than_the_reference_has_are_told(run: Callable[..., Any], reference: Path) -> None:
    def change(held: dict[str, Any]) -> None:
        held["environment"]["versions"]["onnxruntime"] = "0.1"
        held["artifacts"][0]["kept"] = 9

    edit(reference, change)
    done = run("--reference", reference)
    assert done.code == 4
    assert "Other versions: onnxruntime 0.1 then" in done.err


def test_on_another_kind_of_processor_only_the_absolute_limits_hold(run: Callable[..., Any], reference: Path) -> None:
    def change(held: dict[str, Any]) -> None:
        held["processor"] = ["vax"]
        held["artifacts"][0]["kept"] = 9

    edit(reference, change)
    done = run("--reference", reference)
    assert done.code == 0, done.err
    assert done.err.startswith("Only the absolute limits hold here")
    assert len(done.err.splitlines()) == 1


def test_reference_of_another_checkpoint_fails_before_anything_is_exported(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "r.json").write_bytes(parity_reference.REFERENCE.read_bytes())
    edit(tmp_path / "r.json", lambda held: held.update(checkpoint_sha256="0" * 64))
    done = command(lambda: run_app(parity.app), "--reference", tmp_path / "r.json")
    assert done.code == 4
    assert "figures of another checkpoint (000000000000, not " in done.err
    assert done.err.rstrip().endswith("python benchmarks/parity.py --update")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "parity", "format": 1, "artifacts": [{}]}'])
def test_malformed_reference_is_a_usage_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UsageError, match="cannot be read as figures of parity"):
        parity_reference.read_reference(tmp_path / "r.json", "")
    with pytest.raises(UsageError, match="cannot be read as figures of parity"):
        parity_reference.read_reference(tmp_path / "none.json", "")


def test_update_never_puts_others_figures_in_place_of_the_shipped_ones(run: Callable[..., Any]) -> None:
    before = parity_reference.REFERENCE.read_bytes()
    done = run("--update")
    assert done.code == 2
    assert "add --reference FILE" in done.err
    assert parity_reference.REFERENCE.read_bytes() == before


def test_committed_figures_are_of_the_shipped_checkpoint_and_within_the_limits() -> None:
    digest = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    rows = parity_reference.read_reference(parity_reference.REFERENCE, digest)["artifacts"]
    assert [row["precision"] for row in rows] == ["fp32", "fp16", "int8", "int8", "int8"]
    for row in rows:
        limit = limit_for(row["precision"], row["weights"])
        assert row["worst"] <= limit.worst and row["srocc"] >= limit.srocc
