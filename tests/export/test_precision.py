import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import make_checkpoint

from lifeiqa.calibration import limits
from lifeiqa.export.cli import main
from lifeiqa.models.checkpoints.own_format import save_checkpoint
from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.runtime import Scorer, ScoreScale

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen pictures, 75 crops, of one photograph that scikit-learn brings: from dark to bright, so that even a
    network of random weights scores them apart."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("pictures")
    photograph = load_sample_images().images[0]
    for k in range(15):
        copy = np.clip(photograph * (0.15 + 0.06 * k), 0, 255).astype(np.uint8)
        (folder / f"{k:02d}.png").write_bytes(cv2.imencode(".png", copy[:, :, ::-1])[1].tobytes())
    return folder


@pytest.fixture(scope="module")
def exported_once(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    save_checkpoint(make_checkpoint(scale=ScoreScale(-10, 10)), folder / "best.pt")
    options = ("--fp16", "--int8", "--calib-data", pictures, "--calib-cache", folder / "ranges.json")
    command = ("--ckpt", folder / "best.pt", *options, "--max-srocc-drop", "1", "--target", "onnx")
    program = [sys.executable, "-c", "from lifeiqa.export.cli import main; main()", *map(str, command)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("checked  against PyTorch") == 4
    assert "75 crops are few" in done.stderr
    return folder


@pytest.fixture
def exported(exported_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported_once, tmp_path, dirs_exist_ok=True))


def test_every_precision_is_written_and_says_what_it_is(exported: Path, pictures: Path) -> None:
    names = ["best.fp16.onnx", "best.int8.onnx", "best.int8.tensorrt.onnx", "best.onnx"]
    assert sorted(p.name for p in exported.glob("*.onnx")) == names
    picture = next(held_out_pictures())[1]
    found = {}
    for name in names:
        with Scorer(exported / name, device="cpu") as scorer:
            found[name] = scorer.manifest, scorer.score(picture).raw
    assert [m.precision for m, _ in found.values()] == ["fp16", "int8", "int8", "fp32"]
    assert [m.flavor for m, _ in found.values()] == ["", "cpu", "tensorrt", ""]
    assert len({m.checkpoint_sha256 for m, _ in found.values()}) == 1
    reference = found["best.onnx"][1]
    assert all(abs(score - reference) < 3 for _, score in found.values())
    assert len({score for _, score in found.values()}) == 4  # each really computes in its own way
    calibration = found["best.int8.onnx"][0].calibration
    assert calibration is not None
    assert (calibration["picture_count"], calibration["crop_count"], calibration["method"]) == (15, 75, "percentile")
    assert calibration == found["best.int8.tensorrt.onnx"][0].calibration
    guard = found["best.fp16.onnx"][0].guard
    assert guard is not None
    assert guard["pictures"] == str(pictures)
    assert found["best.onnx"][0].guard is None


def test_ranges_are_carried_to_where_the_pictures_are_not(exported: Path, command: Command) -> None:
    options = ("--int8", "--calib-cache", exported / "ranges.json", "--max-srocc-drop", 1, "--target", "onnx")
    done = command(main, "--ckpt", exported / "best.pt", "-o", exported / "there", *options)
    assert done.code == 0, done.err
    assert "ranges come from" in done.err
    for name in ("best.int8.onnx", "best.int8.tensorrt.onnx"):
        with Scorer(exported / name, device="cpu") as here, Scorer(exported / "there" / name, device="cpu") as there:
            picture = next(held_out_pictures())[1]
            assert here.score(picture) == there.score(picture)
            assert here.manifest.calibration == there.manifest.calibration


def test_ranges_of_another_network_are_refused_before_anything_is_written(exported: Path, command: Command) -> None:
    state = {
        name: tensor + 0.01 * torch.ones_like(tensor) if tensor.is_floating_point() else tensor
        for name, tensor in make_checkpoint().state.items()
    }
    save_checkpoint(make_checkpoint(state=state), exported / "other.pt")
    done = command(
        main, "--ckpt", exported / "other.pt", "--int8", "--calib-cache", exported / "ranges.json", "--target", "onnx"
    )
    assert done.code == 2
    assert "was measured on something else: the network" in done.err
    assert not (exported / "other.onnx").exists()


def test_guard_that_cannot_be_satisfied_ends_with_4_and_keeps_the_old_file(
    tiny_pt: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "best.pt").write_bytes(tiny_pt.read_bytes())
    (tmp_path / "best.int8.onnx").write_bytes(b"old")
    options = ("--fp16", "--int8", "--calib-data", pictures, "--max-srocc-drop", 0, "--target", "onnx", "--force")
    done = command(main, "--ckpt", tmp_path / "best.pt", *options)  # no swap among 75 crops: INT8 cannot
    assert done.code == 4
    (error,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "Not written, because pictures would be ranked differently: best.int8.onnx, best.int8.tensorrt.onnx" in error
    assert "--allow-worst" not in error  # it would not help: the order is what is off
    assert done.out.count("refused  ") == done.out.count("best     Spearman") == 2
    assert (tmp_path / "best.int8.onnx").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["best.fp16.onnx", "best.int8.onnx", "best.onnx", "best.pt"]


def test_one_precision_that_is_refused_does_not_stop_the_others_and_can_be_taken_knowingly(
    tiny_pt: Path, pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = {**limits.LIMITS, "fp16/fp16": limits.Limit(worst=1e-9, srocc=0.0)}  # which no FP16 graph keeps
    monkeypatch.setattr(limits, "LIMITS", strict)
    options = ("--ckpt", tiny_pt, "-o", tmp_path, "--fp16", "--int8", "--calib-data", pictures, "--max-srocc-drop", 1)
    done = command(main, *options, "--target", "onnx", "--json")
    assert done.code == 4
    result = json.loads(done.out)
    assert [Path(made["path"]).name for made in result["artifacts"]] == [
        "tiny.onnx",
        "tiny.int8.onnx",
        "tiny.int8.tensorrt.onnx",
    ]
    (refusal,) = result["refused"]
    assert (Path(refusal["path"]).name, refusal["precision"]) == ("tiny.fp16.onnx", "fp16")
    assert "worst difference" in refusal["reason"]
    (points,) = re.findall(r"--allow-worst ([\d.]+) takes them as they are", done.err)
    assert float(points) >= 100 * refusal["agreement"]["worst"]
    points = "3"  # the check against PyTorch is on other pictures
    done = command(main, *options[:5], "--target", "onnx", "--force", "--allow-worst", points)
    assert done.code == 0, done.err
    with Scorer(tmp_path / "tiny.fp16.onnx", device="cpu") as scorer:
        assert scorer.manifest.guard is not None
        assert scorer.manifest.guard["allowed_worst"] == float(points)


def test_file_that_the_guard_passes_and_that_differs_from_pytorch_names_its_few_crops(
    tiny_pt: Path, pictures: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits.LIMITS, "int8/int8", limits.Limit(worst=1e-9, srocc=0.0))
    monkeypatch.setitem(limits.GUARD_MARGINS, "int8", 1e9)
    options = ("--ckpt", tiny_pt, "-o", tmp_path, "--int8", "--calib-data", pictures, "--max-srocc-drop", 1)
    done = command(main, *options, "--target", "onnx")
    assert done.code == 4
    assert done.out.count("int8 cpu: The exported model differs from PyTorch: worst difference") == 1
    assert done.out.count("Its ranges come from 75 crops; they need 300 or more.") == 2
    assert os.listdir(tmp_path) == ["tiny.onnx"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--int8",), "add --calib-data"),
        (("--int8", "--calib-data", "nowhere"), "nowhere is no folder of pictures"),
        (("--fp16", "--guard-data", "nowhere"), "nowhere is no folder of pictures"),
        (("--int8", "--calib-data", "{few}"), "gives 10 crops of 2 pictures; at least 64"),
        (("--int8", "--calib-cache", "{text}"), "is not a calibration cache"),
    ],
)
def test_wrong_pictures_are_refused_before_anything_is_written(
    options: tuple[str, ...], message: str, tiny_pt: Path, pictures: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "few").mkdir()
    for path in sorted(pictures.iterdir())[:2]:
        (tmp_path / "few" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ranges.json").write_text("text")
    places = {"few": tmp_path / "few", "text": tmp_path / "ranges.json"}
    arguments = [option.format(**places) for option in options]
    done = command(main, "--ckpt", tiny_pt, "-o", tmp_path / "out", "--target", "onnx", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_without_a_builder_the_message_says_what_to_run_on_the_device(
    tiny_pt: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    done = command(main, "--ckpt", tiny_pt, "-o", tmp_path, "--json")
    assert done.code == 0, done.err
    (note,) = json.loads(done.out)["notes"]
    assert note.endswith("On the device: lifeiqa-export --onnx tiny.onnx")
