import json
import shutil
from collections.abc import Callable
from pathlib import Path

import agreement
import end_to_end
import numpy as np
import pytest

from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime.scorer import Scorer


@pytest.fixture
def run(command: Callable) -> Callable:
    """Runs one of the two commands in this process."""
    return lambda module, *arguments: command(lambda: module.run_app(module.app), *arguments)


def test_folder_and_stream_give_every_field(run: Callable, tiny_onnx: Path, tmp_path: Path) -> None:
    arguments = ["--pictures", 10, "--size", "320x240", "--rounds", 2, "--frames", 8, "--json", tmp_path / "e.json"]
    done = run(end_to_end, "--model", tiny_onnx, *arguments)
    assert done.code == 0, done.err
    assert "pictures a second" in done.out and "share of the wall time beyond inference" in done.out
    found = json.loads((tmp_path / "e.json").read_text())
    assert (found["kind"], found["format"]) == ("end_to_end", 1)
    assert found["environment"]["allowed_cores"] >= 1
    assert found["configuration"]["device"] == "cpu"
    assert len(found["configuration"]["checkpoint_sha256"]) == 64
    folder, steps = found["folder"], found["folder"]["core_ms"]
    assert folder["picture"] == "320x240 JPEG"
    assert 0 < folder["pictures"] < 10
    assert len(folder["seconds"]) == 2 and min(folder["seconds"]) > 0
    assert folder["pictures_per_s"] == pytest.approx(folder["pictures"] / np.median(folder["seconds"]))
    assert set(steps) == {"decode", "preprocess", "infer"} and min(steps.values()) > 0
    assert folder["not_inference_share"] == pytest.approx(1 - steps["infer"] / sum(steps.values()))
    if shutil.which("ffmpeg") is None:
        assert found["stream"] is None
        assert found["left_out"][0]["name"] == "stream" and "ffmpeg" in found["left_out"][0]["why"]
    else:
        assert found["left_out"] == []
        assert found["stream"]["frame"] == "1280x720 H.264"
        assert 0 < found["stream"]["frames_per_s"] < 60
        assert found["stream"]["latency_ms"] > found["stream"]["age_ms"] >= 0


def test_stream_is_named_as_left_out_without_ffmpeg(
    run: Callable, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    arguments = ["--pictures", 4, "--size", "64x64", "--rounds", 1, "--json", tmp_path / "e.json"]
    done = run(end_to_end, "--model", tiny_onnx, *arguments)
    assert done.code == 0, done.err
    assert "left out: stream: ffmpeg" in done.err
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["stream"] is None
    assert [entry["name"] for entry in found["left_out"]] == ["stream"]


def test_pictures_have_different_contents_and_the_size_asked_for(tmp_path: Path) -> None:
    pictures = [picture for _, picture in held_out_pictures()]
    made = [end_to_end.mosaic(pictures, 300, 500, seed) for seed in (0, 1, 0)]
    assert made[0].shape == (300, 500, 3)
    assert np.array_equal(made[0], made[2])
    assert np.abs(made[0].astype(int) - made[1]).mean() > 10
    paths = end_to_end.write_folder(tmp_path, 3, 64, 96)
    assert len({path.read_bytes() for path in paths}) == 3


def test_core_ms_are_medians_without_the_first(tiny_onnx: Path, tmp_path: Path) -> None:
    paths = end_to_end.write_folder(tmp_path, 3, 270, 384)
    with Scorer(tiny_onnx, device="cpu", threads=1) as scorer:
        steps = end_to_end.core_ms(paths, scorer)
    assert all(0 < ms < 5000 for ms in steps.values())


def test_wall_time_beyond_inference_counts_what_inference_on_all_cores_would_not_take() -> None:
    assert end_to_end.beyond_inference(wall_ms=20.0, infer_ms=30.0, cores=2) == pytest.approx(0.25)
    assert end_to_end.beyond_inference(wall_ms=15.0, infer_ms=30.0, cores=2) == 0


@pytest.mark.parametrize("size", ["big", "1920", "0x100", "1920x-1", "99999x100"])
def test_wrong_size_is_a_usage_error(run: Callable, tiny_onnx: Path, size: str) -> None:
    done = run(end_to_end, "--model", tiny_onnx, "--size", size)
    assert done.code == 2
    assert done.err.startswith("error: --size")


def test_agreement_has_a_pair_for_each_picture_and_its_figures_follow_from_them(
    run: Callable, tiny_pt: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    output = tmp_path / "agreement.json"
    done = run(agreement, tiny_onnx, "--ckpt", tiny_pt, "--pictures", 1, "--json", output)
    assert done.code == 0, done.err
    assert "tiny.onnx" in done.out
    found = json.loads(output.read_text())
    assert (found["kind"], found["format"]) == ("agreement", 1)
    names = [pair["picture"] for pair in found["pairs"]]
    assert len(names) == len(set(names)) == 36
    assert names[:2] == ["astronaut", "astronaut blur 1"]
    differences = [abs(pair["score"] - pair["reference"]) for pair in found["pairs"]]
    assert found["worst"] == pytest.approx(max(differences), abs=1e-12)
    assert found["median"] == pytest.approx(np.median(differences), abs=1e-12)
    assert found["srocc"] > 0.99 and found["plcc"] > 0.99
    assert found["artifact"]["precision"] == "fp32" and len(found["artifact"]["sha256"]) == 64


def test_pairs_of_two_artifacts_do_not_fit_into_one_file(
    run: Callable, tiny_pt: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    done = run(agreement, tiny_onnx, tiny_onnx, "--ckpt", tiny_pt, "--json", tmp_path / "a.json")
    assert done.code == 2
    assert "one artifact" in done.err
