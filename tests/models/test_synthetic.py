import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import TINY

from lifeiqa.models.backbone import Backbone
from lifeiqa.models.checkpoint import load_checkpoint
from lifeiqa.models.cli import synth_main, train_main
from lifeiqa.models.config import LifeIQAConfig
from lifeiqa.models.dataset import LadderDataset, read_labels
from lifeiqa.models.ladders import held_out_pictures
from lifeiqa.models.losses import ranking_loss, total_loss
from lifeiqa.models.network import LifeIQA
from lifeiqa.models.pseudo_mos import fuse
from lifeiqa.models.scorer import TorchScorer
from lifeiqa.models.synthetic import SyntheticPlan, read_photograph_list, references_of, synthesize
from lifeiqa.models.training import TrainPlan, train
from lifeiqa.runtime.errors import DatasetError, UsageError
from lifeiqa.runtime.manifest import ScoreScale
from lifeiqa.runtime.preprocess import PreprocessSpec

PLAN = SyntheticPlan(scales=(400,), windows=1, types=4)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    rows = []
    for name, picture in held_out_pictures():
        large = cv2.resize(picture, None, fx=1.7, fy=1.7)
        (folder / f"{name}.png").write_bytes(cv2.imencode(".png", large[:, :, ::-1])[1].tobytes())
        rows.append((f"{name}.png", "test" if name == "rocket" else "train"))
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "split"), *rows[2:]])
    return folder


@pytest.fixture(scope="module")
def labels(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    listed = read_photograph_list(sources / "list.csv")
    return synthesize(sources, listed, tmp_path_factory.mktemp("set"), PLAN)


def rows_of(labels: Path) -> list[dict[str, str]]:
    with labels.open(newline="") as file:
        return list(csv.DictReader(file))


def test_set_has_every_level_of_every_ladder_and_no_content_in_both_splits(labels: Path) -> None:
    rows = rows_of(labels)
    assert len(rows) == 2 * (1 + 4 * 5) + (1 + 25 * 5)
    assert all((labels.parent / row["path"]).is_file() for row in rows)
    by_split = {split: {r["reference"] for r in rows if r["split"] == split} for split in ("train", "test")}
    assert not by_split["train"] & by_split["test"]


def test_labels_fall_along_every_ladder(labels: Path) -> None:
    ladders: dict[tuple[str, str], list[float]] = {}
    for row in rows_of(labels):
        ladders.setdefault((row["pristine"], row["distortion"]), []).append(float(row["score"]))
    for name, scores in ladders.items():
        assert scores == sorted(scores, reverse=True), name
        assert all(0 < score <= 100 for score in scores)


def test_same_seed_gives_the_same_set_and_an_interrupted_run_goes_on(
    sources: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = read_photograph_list(sources / "list.csv")
    seen = []

    def stop_after_two(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(sources, listed, tmp_path, PLAN, progress=stop_after_two)
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "metrics").iterdir()}
    assert len(finished) >= 2
    assert not (tmp_path / "labels.csv").exists()
    again = synthesize(sources, listed, tmp_path, PLAN, progress=lambda done, total: seen.append(done))
    assert again.read_bytes() == labels.read_bytes()
    for name, written in finished.items():
        assert (tmp_path / "metrics" / name).stat().st_mtime_ns == written
    for row in rows_of(labels)[:30]:
        assert (tmp_path / row["path"]).read_bytes() == (labels.parent / row["path"]).read_bytes()


def test_folder_of_another_set_is_refused(sources: Path, labels: Path) -> None:
    listed = read_photograph_list(sources / "list.csv")
    with pytest.raises(DatasetError, match="another plan"):
        synthesize(sources, listed, labels.parent, SyntheticPlan(seed=1))


def test_missing_photograph_and_malformed_list_are_named(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"1 listed photographs are not under.*none\.jpg"):
        synthesize(sources, [("none.jpg", "train")], tmp_path / "set", PLAN)
    bad = tmp_path / "bad.csv"
    for text, message in (("path,split\na,valid\n", "expected train or test"), ("name\nx\n", "columns path,split")):
        bad.write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_photograph_list(bad)
    with pytest.raises(DatasetError, match="Cannot read"):
        read_photograph_list(tmp_path / "none.csv")


@pytest.mark.parametrize("shape", [(3088, 2056), (1080, 1920), (400, 3000), (384, 512)])
def test_references_have_one_size_whatever_the_photograph(shape: tuple[int, int]) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for reference in references_of(photograph, SyntheticPlan()):
        assert reference.shape == (384, 512, 3)


def test_fused_labels_are_ranks_made_monotone() -> None:
    metrics = np.array([[0.9, 9.0], [0.8, 8.0], [0.5, 6.0], [0.6, 7.0]])
    assert fuse(metrics, 2).tolist() == pytest.approx([80, 60, 30, 30])


def test_training_crops_of_a_ladder_share_their_window(labels: Path) -> None:
    data = LadderDataset(read_labels(labels, "train"), PreprocessSpec(), levels=6, seed=0)
    assert len(data) == 8
    crops, scores = data[0, 0]
    assert crops.shape == (6, 224, 224, 3)
    order = scores.argsort(descending=True)
    best, second, worst = (crops[i].float() for i in (order[0], order[1], order[-1]))
    assert (best - second).abs().mean() < (best - worst).abs().mean() < 80
    assert not torch.equal(data[0, 1][0][0], crops[0])
    assert torch.equal(data[0, 0][0], crops)


def small_plan(**changes: object) -> TrainPlan:
    return TrainPlan(**{"epochs": 2, "ladders": 4, "levels": 3, "frozen_stages": 0, **changes})


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "backbone.pth"
    torch.save(Backbone("test_efficientnet").inner_state(), path)
    return path


@pytest.fixture(scope="module")
def few_labels(labels: Path) -> Path:
    """The same set with eleven test pictures, which is enough to measure a correlation."""
    head, *rows = labels.read_text().splitlines()
    test = [row for row in rows if ",test," in row][::12]
    path = labels.parent / "few.csv"
    path.write_text("\n".join([head, *(row for row in rows if ",train," in row), *test]))
    return path


def test_training_is_reproducible_and_reports_every_step(few_labels: Path, weights: Path) -> None:
    steps: list[int] = []
    runs = [train(few_labels, TINY, small_plan(), weights, lambda step, total, _: steps.append(step)) for _ in range(2)]
    assert steps == [1, 2, 3, 4] * 2
    (first, report), (second, _) = runs
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
    assert not torch.equal(first.state["head.weight"], LifeIQA(TINY).state_dict()["head.weight"])
    assert report.pictures == 11
    assert sum(report.expert_share) == pytest.approx(2, abs=1e-4)


def test_loss_of_a_ladder_can_be_learned(labels: Path) -> None:
    torch.manual_seed(0)
    model = LifeIQA(TINY)
    crops, targets = LadderDataset(read_labels(labels, "train"), PreprocessSpec(), levels=6, seed=0)[0, 0]
    images = TorchScorer(model, PreprocessSpec(), ScoreScale(0, 1)).normalize(crops)
    groups = torch.zeros(6)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(60):
        prediction = model(images)
        loss = total_loss(prediction, targets, TINY) + ranking_loss(prediction.score, targets, groups)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (prediction.score - targets).abs().mean() < 0.08
    assert torch.equal(prediction.score.argsort(), targets.argsort())


def test_frozen_stages_do_not_change(few_labels: Path, weights: Path) -> None:
    before = torch.load(weights, weights_only=True)
    checkpoint, _ = train(few_labels, TINY, small_plan(epochs=1, frozen_stages=2), weights)
    after = {n.removeprefix("backbone.net.model."): t for n, t in checkpoint.state.items()}
    assert all(
        torch.equal(after[n], t) for n, t in before.items() if n.startswith(("conv_stem", "blocks.0", "blocks.1"))
    )
    later = [n for n in before if n.startswith("blocks.2") and n.endswith("weight")]
    assert later
    assert not any(torch.equal(after[n], before[n]) for n in later)
    assert all(torch.equal(after[n], t) for n, t in before.items() if "running" in n)


def test_bad_training_data_is_an_error_before_the_first_step(labels: Path, weights: Path, tmp_path: Path) -> None:
    text = labels.read_text().splitlines()
    for lines, message in (
        (text[:1], "at least one row"),
        ([text[0].replace("score", "mos"), *text[1:]], "must be a CSV with the columns"),
        ([text[0], text[1].replace("100.000", "nan"), *text[2:]], "line 2: the score 'nan'"),
        ([text[0], text[1].replace("100.000", "101"), *text[2:]], "not a number in 0-100"),
        ([text[0], text[1] + ",more", *text[2:]], "line 2: has too few or too many cells"),
        ([text[0], text[1][:-1] + "mild", *text[2:]], "line 2: the level 'mild'"),
        ([text[0], *text[2:]], "which others come from"),
        (text, "pictures that are not there"),
    ):
        copy = tmp_path / "labels.csv"
        copy.write_text("\n".join(lines))
        with pytest.raises(DatasetError, match=message):
            train(copy, LifeIQAConfig(backbone="test_efficientnet"), small_plan(), weights)
    with pytest.raises(UsageError, match="fewer than one batch"):
        train(labels, LifeIQAConfig(backbone="test_efficientnet"), small_plan(ladders=99), weights)


def test_commands_make_a_set_and_train_on_it(
    command: Callable[..., Any], sources: Path, labels: Path, few_labels: Path, weights: Path, tmp_path: Path
) -> None:
    options = ["--jobs", 1, "--scale", 400, "--windows", 1, "--types", 4]  # those of the set that is there already
    done = command(synth_main, "--photos", sources, "--list", sources / "list.csv", "-o", labels.parent, *options)
    assert (done.code, done.out.strip()) == (0, str(labels)), done.err
    arguments = ["--labels", few_labels, "-o", tmp_path / "best.pt", "--epochs", 1, "--frozen-stages", 0]
    done = command(train_main, *arguments, "--backbone", "test_efficientnet", "--backbone-weights", weights)
    assert done.code == 0, done.err
    assert "test split: SROCC" in done.out
    training = load_checkpoint(tmp_path / "best.pt").training
    assert json.dumps(training)
    assert training["plan"]["epochs"] == 1


def test_commands_say_what_is_wrong_in_one_line(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command(synth_main, "--photos", tmp_path, "--list", tmp_path / "none.csv", "-o", tmp_path / "set")
    assert (done.code, done.err.count("\n")) == (2, 1)
    done = command(train_main, "--labels", tmp_path / "none.csv", "--backbone", "test_efficientnet")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "lifeiqa-synth" in done.err
