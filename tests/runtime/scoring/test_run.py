import csv
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from lifeiqa.runtime.cli import main

RUN = [sys.executable, "-c", "from lifeiqa.runtime.cli import main; main()"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Sixty small pictures and two that are broken, in folders."""
    rng = np.random.default_rng(0)
    for n in range(60):
        folder = tmp_path / "set" / f"{n % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        picture = cv2.GaussianBlur(rng.integers(0, 256, (230, 240, 3), np.uint8), (0, 0), 1 + n % 5)
        cv2.imwrite(str(folder / f"{n:02d}.png"), picture)
    (tmp_path / "set" / "1" / "cut.png").write_bytes((tmp_path / "set" / "1" / "01.png").read_bytes()[:9000])
    (tmp_path / "set" / "empty.jpg").touch()
    return tmp_path / "set"


def changed(picture: Path) -> None:
    cv2.imwrite(str(picture), np.full((230, 240, 3), 128, np.uint8))


def run(tiny_onnx: Path, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*RUN, "--model", str(tiny_onnx), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "json", "parquet"])
def test_run_that_is_killed_again_and_again_ends_with_the_rows_of_an_uninterrupted_one(
    tiny_onnx: Path, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert run(tiny_onnx, pictures, "-o", whole).returncode == 1
    choose, command = random.Random(suffix), [*RUN, "--model", str(tiny_onnx), str(pictures), "-o", str(output)]
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        journal = tmp_path / f"out.{suffix}.journal"
        before = journal.stat().st_size if journal.exists() else 0
        while process.poll() is None and not (journal.exists() and journal.stat().st_size > before + 400):
            time.sleep(0.01)
        time.sleep(choose.random() / 5)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if "--resume" not in command:
            command.append("--resume")
    assert kills and not output.exists()
    done = run(tiny_onnx, pictures, "-o", output, "--resume")
    assert done.returncode == 1
    assert "files were scored before" in done.stderr
    assert "2 of 62 could not be scored: " in done.stderr
    assert output.read_bytes() == whole.read_bytes()
    again = run(tiny_onnx, pictures, "-o", output, "--resume")
    assert (again.returncode, output.read_bytes()) == (1, whole.read_bytes())
    assert "60 files were scored before" in again.stderr  # the two that could not be are tried again


def test_resume_scores_what_is_new_or_changed_and_forgets_what_is_gone(
    command: Callable, tiny_onnx: Path, pictures: Path, tmp_path: Path
) -> None:
    output, whole = tmp_path / "out.csv", tmp_path / "whole.csv"
    arguments = ["--model", tiny_onnx, pictures, "-o"]
    assert command(main, *arguments, output, "--resume").code == 1
    changed(pictures / "1" / "01.png")
    changed(pictures / "0" / "_first.png")
    (pictures / "2" / "05.png").unlink()
    assert command(main, *arguments, output, "--resume").code == 1
    assert command(main, *arguments, whole).code == 1
    assert output.read_bytes() == whole.read_bytes()
    assert len(list(csv.DictReader(output.read_text().splitlines()))) == 62


def test_full_disk_keeps_every_row_it_had(tiny_onnx: Path, pictures: Path, tmp_path: Path) -> None:
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    assert run(tiny_onnx, pictures, "-o", whole).returncode == 1

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))

    done = run(tiny_onnx, pictures, "-o", output, preexec_fn=limit)
    assert done.returncode == 3
    assert "Cannot write" in done.stderr and "--resume" in done.stderr and "Traceback" not in done.stderr
    kept = (tmp_path / "out.jsonl.journal").read_bytes()
    assert 3000 < len(kept) <= 4000
    assert run(tiny_onnx, pictures, "-o", output, "--resume").returncode == 1
    assert output.read_bytes() == whole.read_bytes()


def test_interrupted_run_puts_its_records_in_place_and_can_be_resumed(
    tiny_onnx: Path, pictures: Path, tmp_path: Path
) -> None:
    output, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal"
    command = [*RUN, "--model", str(tiny_onnx), str(pictures), "-o", str(output)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (journal.exists() and journal.stat().st_size > 1500):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert (process.returncode, "interrupted after" in err, "Traceback" in err) == (130, True, False)
    part = [json.loads(line)["source"] for line in output.read_text().splitlines()]
    assert 0 < len(part) < 62
    assert run(tiny_onnx, pictures, "-o", output, "--resume").returncode == 1
    rows = [json.loads(line)["source"] for line in output.read_text().splitlines()]
    assert rows[: len(part)] == part and len(rows) == 62


@pytest.mark.parametrize("flags", [[], ["--overwrite"], ["--resume"]])
def test_inputs_models_and_pictures_are_never_replaced(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path, flags: list[str]
) -> None:
    picture, model = tmp_path / "photo.jpg", tmp_path / "model.onnx"
    picture.write_bytes((photos / "coffee.jpg").read_bytes())
    model.write_bytes(tiny_onnx.read_bytes())
    listed = tmp_path / "list.csv"
    listed.write_text(f"{picture}\n")
    for output, inputs in ((picture, photos), (picture, picture), (model, picture), (listed, listed)):
        before = output.read_bytes()
        done = command(main, "--model", model, inputs, "-o", output, "--format", "jsonl", *flags)
        assert done.code == 2 and "is never replaced" in done.err
        assert output.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["list.csv", "model.onnx", "photo.jpg"]


def test_existing_results_are_replaced_only_when_told(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    output, arguments = tmp_path / "o.jsonl", ["--model", tiny_onnx, photos, "-o", tmp_path / "o.jsonl"]
    output.write_text("kept\n")
    done = command(main, *arguments)
    assert (done.code, output.read_text()) == (2, "kept\n")
    assert "--overwrite to replace it, or --resume" in done.err
    done = command(main, "--model", tiny_onnx, "--camera", "63", "-o", output)
    assert done.code == 2 and "--overwrite to replace it." in done.err and "--resume" not in done.err
    done = command(main, *arguments, "--resume")
    assert (done.code, output.read_text()) == (2, "kept\n") and "kept no journal" in done.err
    assert command(main, *arguments, "--overwrite").code == 0
    assert len(output.read_text().splitlines()) == 5
    assert os.listdir(tmp_path) == ["o.jsonl"]


def test_left_journal_is_not_begun_anew_by_mistake(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    output, arguments = tmp_path / "o.jsonl", ["--model", tiny_onnx, photos, "-o", tmp_path / "o.jsonl"]
    assert command(main, *arguments, "--resume").code == 0
    output.unlink()
    done = command(main, *arguments)
    assert done.code == 2 and "o.jsonl.journal is of a run that was stopped" in done.err
    done = command(main, *arguments, "--resume", "--crops", "3")
    assert done.code == 2 and "crops was None, is 3" in done.err
    assert command(main, *arguments, "--overwrite").code == 0
    assert os.listdir(tmp_path) == ["o.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "scores.xls"], "has a suffix that says no format"),
        (["-o", "scores"], "has a suffix that says no format"),
        (["--resume"], "name one with --output"),
        (["-o", "a.csv", "--resume", "--overwrite"], "give one of the two"),
        (["--format", "parquet"], "name one with --output"),
    ],
)
def test_outputs_that_make_no_sense(
    command: Callable, tiny_onnx: Path, photos: Path, arguments: list[str], message: str
) -> None:
    done = command(main, "--model", tiny_onnx, photos, *arguments)
    assert done.code == 2 and message in done.err and done.out == ""


def test_limits_of_size_and_time_are_options(command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.jpg")
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'endless.jpg'}\n{photos / 'coffee.jpg'}\n")
    arguments = ["--decode-timeout", "1", "--max-pixels", "0.1", "--format", "jsonl"]
    done = command(main, "--model", tiny_onnx, tmp_path / "list.txt", *arguments)
    errors = [json.loads(line)["error"] for line in done.out.splitlines()]
    assert "took longer than 1 s" in errors[0] and "more than the 0.1 million allowed" in errors[1]
    done = command(main, "--model", tiny_onnx, photos / "coffee.jpg", *arguments)
    assert "more than the 0.1 million allowed" in json.loads(done.out)["error"]


def test_report_is_written_beside_the_results_and_replaces_pages_alone(
    command: Callable, tiny_onnx: Path, photos: Path, tmp_path: Path
) -> None:
    page, arguments = tmp_path / "report.html", ["--model", tiny_onnx, photos, "-o", tmp_path / "o.csv"]
    assert command(main, *arguments, "--report", page, "--resume").code == 0
    assert "astronaut.png" in page.read_text()
    assert command(main, *arguments, "--report", page, "--resume").code == 0
    assert "astronaut.png" in page.read_text()
    for own in ("o.csv", "o.csv.journal"):
        done = command(main, *arguments, "--report", tmp_path / own, "--resume")
        assert done.code == 2 and "is the run's file of results" in done.err
    picture = tmp_path / "photo.jpg"
    picture.write_bytes((photos / "coffee.jpg").read_bytes())
    done = command(main, *arguments, "--report", picture, "--resume")
    assert done.code == 2 and "is no HTML page" in done.err
    assert picture.read_bytes() == (photos / "coffee.jpg").read_bytes()
