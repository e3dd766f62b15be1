import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arm64_table
import pytest

from lifeiqa.runtime.console import run_app
from lifeiqa.runtime.scorer import Scorer

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/arm64.sh"
CHECK = {"name": arm64_table.CROPS, "measured": "1.5"}


def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin", **variables}
    )


@pytest.fixture
def results(photos: Path, tmp_path: Path) -> Path:
    """What arm64.sh leaves, of one processor whose scores are those of this machine."""
    with Scorer(device="cpu") as scorer:
        scores = {path.name: scorer.score_file(path).raw for path in photos.iterdir()}
    proof = {"passed": True, "machine": {"features": "dotprod"}, "checks": [CHECK]}
    for name, content in (("here.scores", scores), ("cpu.scores", scores), ("cpu.proof", proof)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def altered(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_script_is_clean_shell() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if shutil.which("shellcheck") is not None:
        subprocess.run(["shellcheck", str(SCRIPT)], check=True)


def test_dry_run_prints_the_steps_of_each_processor_and_writes_nothing(tmp_path: Path) -> None:
    done = run("--dry-run", tmp_path / "folder", CPUS="cortex-a72 max")
    assert done.returncode == 0, done.stderr
    steps = [line.removeprefix("== ") for line in done.stdout.splitlines()]
    assert steps[1:3] == ["resolve_wheels", "install_wheels"]
    assert steps[-3:] == ["score_emulated cortex-a72", "score_emulated max", "show"]
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("arguments", [[], ["--fast", "folder"], ["a", "b"]])
def test_wrong_use_is_one_line(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr == "error: usage: benchmarks/arm64.sh [--dry-run] FOLDER\n"


def test_same_scores_are_within_the_limits(results: Path, photos: Path, command: Callable[..., Any]) -> None:
    done = command(lambda: run_app(arm64_table.app), results, photos)
    assert done.code == 0, done.err
    (line,) = [line for line in done.out.splitlines() if "dotprod" in line]
    assert "0.000 (0.000)" in line
    assert "ok" in line


def test_score_that_is_off_or_proof_that_failed_ends_with_4(
    results: Path, photos: Path, command: Callable[..., Any]
) -> None:
    altered(results / "cpu.proof.json", lambda proof: proof.update(passed=False))
    assert command(lambda: run_app(arm64_table.app), results, photos).code == 4
    altered(results / "cpu.proof.json", lambda proof: proof.update(passed=True))
    altered(results / "cpu.scores.json", lambda scores: scores.update({"coffee.jpg": scores["coffee.jpg"] + 7}))
    done = command(lambda: run_app(arm64_table.app), results, photos)
    assert done.code == 4
    assert "Outside the limits (3 points): cpu" in done.err


def test_results_of_other_pictures_are_a_usage_error(results: Path, photos: Path, command: Callable[..., Any]) -> None:
    altered(results / "here.scores.json", lambda scores: scores.pop("coffee.jpg"))
    assert command(lambda: run_app(arm64_table.app), results, photos).code == 2
