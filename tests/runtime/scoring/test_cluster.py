"""`--cluster` on a Ray cluster of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pytest

from lifeiqa.runtime.cli import main
from lifeiqa.runtime.errors import ManifestError, MissingError
from lifeiqa.runtime.preprocess import PreprocessSpec
from lifeiqa.runtime.scoring.cluster import ClusterJob, _blocks, _Worker
from lifeiqa.runtime.scoring.decoders import DecodeSettings
from lifeiqa.runtime.sources.entries import Entry

ray = pytest.importorskip("ray")
RUN = [sys.executable, "-c", "from lifeiqa.runtime.cli import main; main()"]
# Ray gives its workers a low priority (15): beside other tests they would take minutes for what they do in seconds.
CLUSTER = {**os.environ, "RAY_worker_niceness": "0"}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A list of 900 names: pictures, a broken one, one that is not there, an empty folder, a video, a URI."""
    rng = np.random.default_rng(0)
    names = [f"{n}.png" for n in range(20)]
    for n, name in enumerate(names):
        picture = cv2.GaussianBlur(rng.integers(0, 256, (230, 240, 3), np.uint8), (0, 0), 1 + n % 5)
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "cut.png").write_bytes((tmp_path / "1.png").read_bytes()[:9000])
    (tmp_path / "folder").mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "two.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (240, 232))
    for shade in (40, 200):
        writer.write(np.full((232, 240, 3), shade, np.uint8))
    writer.release()
    names += ["cut.png", "missing.png", "folder", "two.avi", f"file://{tmp_path}/0.png"]
    (tmp_path / "names.txt").write_text("\n".join(names * 36))
    return tmp_path / "names.txt"


def descendants(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            children.setdefault(int((folder / "stat").read_text().rpartition(")")[2].split()[1]), []).append(
                int(folder.name)
            )
        except OSError:
            continue
    found, waiting = [], [process]
    while waiting:
        found += (more := children.get(waiting.pop(), []))
        waiting += more
    return found


def called(name: str, process: int) -> list[int]:
    """The processes of a run whose command line has this name."""
    found = []
    for number in descendants(process):
        try:
            if name in Path(f"/proc/{number}/cmdline").read_text():
                found.append(number)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("killed", ["ray::MapWorker", "ray::_Distributor"])
def test_rows_of_a_cluster_are_those_of_one_process_even_where_its_processes_are_killed(
    tiny_onnx: Path, pictures: Path, tmp_path: Path, killed: str
) -> None:
    command = [*RUN, "--model", str(tiny_onnx), str(pictures)]
    alone = subprocess.run([*command, "-o", str(tmp_path / "alone.jsonl")], capture_output=True, text=True)
    assert alone.returncode == 1, alone.stderr
    output = tmp_path / "rows.jsonl"
    with subprocess.Popen(
        [*command, "--cluster", "auto", "-o", str(output)],
        env=CLUSTER,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        journal, victims = tmp_path / "rows.jsonl.journal", list[int]()
        while process.poll() is None and not victims:
            if journal.exists() and journal.read_bytes().count(b"\n") > 100:
                victims = called(killed, process.pid)
            time.sleep(0.02)
        for victim in victims[:1]:
            os.kill(victim, signal.SIGKILL)
        out, errors = process.communicate(timeout=300)
    assert victims, errors
    assert process.returncode == 1, errors
    assert not out  # what Ray prints does not go where records would
    assert output.read_text() == (tmp_path / "alone.jsonl").read_text()
    counted = [line for line in alone.stderr.splitlines() if "could not be scored" in line]
    assert counted and counted[0] in errors


def job(path: Path, **changes: object) -> ClusterJob:
    settings = DecodeSettings(PreprocessSpec(), None, 10**6)
    return replace(ClusterJob(path.name, "cpu", "auto", None, 0, settings, jobs=1), **changes)  # type: ignore[arg-type]


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tiny_onnx: Path) -> list[object]:
    """What a worker gets its model from, without a cluster."""
    monkeypatch.setattr(ray, "get", lambda files: files)
    return [{tiny_onnx.name: tiny_onnx.read_bytes()}]


def test_worker_scores_a_block_and_leaves_no_copy_of_the_model(
    tiny_onnx: Path, shipped: list[object], photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    [block] = _blocks([Entry.of("/nowhere"), Entry.of(str(photos / "coffee.jpg"))], 1, 1)
    worker = _Worker(job(tiny_onnx), shipped)
    [table] = worker(block)
    assert worker._engine is not None
    worker._engine.close()
    assert table["number"].to_pylist() == [1]
    assert json.loads(table["record"][0].as_py())["score"] is not None
    assert not list(tmp_path.iterdir())


def test_names_that_are_no_text_and_relative_ones_reach_a_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import pickle

    monkeypatch.chdir(tmp_path)
    [block] = _blocks([Entry.of("caf\udce9.jpg")], 0, 1)
    entry = pickle.loads(block["entry"][0].as_py())
    assert (entry.source, entry.path) == (r"caf\xe9.jpg", f"{tmp_path}/caf\udce9.jpg")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"version": "0.0.1"}, MissingError, "this one 0.0.1"),
        ({"device": "cuda"}, MissingError, "(?i)cuda"),
        ({"model": "other.txt"}, ManifestError, "not a model file"),
    ],
)
def test_worker_that_cannot_begin_says_why_when_it_is_called(
    tiny_onnx: Path,
    shipped: list[object],
    changes: dict[str, object],
    error: type[Exception],
    message: str,
) -> None:
    shipped[0]["other.txt"] = b"x"  # type: ignore[index]
    worker = _Worker(job(tiny_onnx, **changes), shipped)
    with pytest.raises(error, match=message):
        next(worker(pyarrow.table({"number": [0], "entry": [b""]})))


def test_what_is_no_address_and_a_cluster_that_is_not_there_are_named(
    command: Callable[..., object], tiny_onnx: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = command(main, "--model", tiny_onnx, photos, "--cluster", "nonsense")
    assert (outcome.code, "takes auto or an address" in outcome.err) == (2, True)  # type: ignore[attr-defined]

    def refused(*arguments: object, **options: object) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(ray, "init", refused)
    outcome = command(main, "--model", tiny_onnx, photos, "--cluster", "ray://there:10001")
    assert outcome.code == 3 and "No Ray cluster answers at ray://there:10001" in outcome.err  # type: ignore[attr-defined]


def test_cluster_without_ray_says_what_to_install(
    command: Callable[..., object], tiny_onnx: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    outcome = command(main, "--model", tiny_onnx, photos, "--cluster", "auto")
    assert outcome.code == 3 and "pip install 'ray[client,data]>=2.50'" in outcome.err  # type: ignore[attr-defined]


def test_camera_and_cluster_are_refused(command: Callable[..., object]) -> None:
    assert command(main, "--camera", "0", "--cluster", "auto").code == 2  # type: ignore[attr-defined]
