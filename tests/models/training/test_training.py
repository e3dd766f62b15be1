"""Runs are real: a tiny network, real pictures, real processes that are really killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers import TINY
from miniatures import make_ladder_csv, make_miniature

from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.commands.evaluate import main as eval_main
from lifeiqa.models.commands.train import main as train_main
from lifeiqa.models.datasets import DATASETS, QualitySet, open_set, split_set
from lifeiqa.models.evaluation.assess import MIN_TYPE
from lifeiqa.models.evaluation.evaluation import Correlations, correlate, predict
from lifeiqa.models.network.backbone import Backbone
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.models.paper.figure_data import chosen
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.models.training.recipe_files import read_recipe
from lifeiqa.models.training.run_folder import RunResult, TrainRequest
from lifeiqa.models.training.training import ComputeOptions, train
from lifeiqa.runtime.errors import CheckpointError, DatasetError, UsageError

QUICK = Recipe(
    pretrained=False,
    epochs=2,
    batch=8,
    levels=2,
    optimizer="adamw",
    lr=1e-3,
    pristine_weight=0.5,
    rank_weight=1.0,
    classification_weight=0.1,
    clip=1.0,
    schedule="cosine",
)
REQUEST = TrainRequest(TINY, QUICK)
SCRATCH = ["--set", "pretrained=false", "--backbone", "test_efficientnet"]
IDLE = ComputeOptions(workers=0)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ladder_csv(tmp_path_factory.mktemp("ladders"))


@pytest.fixture(scope="module")
def data(labels: Path) -> QualitySet:
    return open_set("csv", labels)


@pytest.fixture(scope="module")
def uninterrupted(data: QualitySet, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return train(data, longer(), tmp_path_factory.mktemp("run") / "whole", IDLE)


def longer() -> TrainRequest:
    """Six steps: three epochs of two, with Adam's moments and a moving rate to be restored."""
    return replace(REQUEST, recipe=replace(QUICK, epochs=4, batch=6))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path).state


def assert_same(first: Path, second: Path) -> None:
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_run_leaves_checkpoint_report_and_settings(data: QualitySet, tmp_path: Path) -> None:
    texts: list[str] = []
    outcome = train(data, REQUEST, tmp_path / "run", IDLE, progress=lambda done, total, text: texts.append(text))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["best.pt", "log", "report.json", "run.json"]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["test"]["pictures"] == outcome.test.pictures == 22
    assert outcome.test.srocc == report["test"]["srocc"]
    assert sum(outcome.expert_load) == pytest.approx(2, abs=1e-4)
    checkpoint = load_checkpoint(outcome.checkpoint)
    assert checkpoint.training["recipe"]["epochs"] == 2
    assert checkpoint.training["report"]["test"] == report["test"]
    assert {"checking pictures", "measuring"} <= set(texts)
    assert any("loss" in text for text in texts)


def test_run_on_a_set_that_was_renamed_is_the_same_run(labels: Path, data: QualitySet, tmp_path: Path) -> None:
    outcome = train(data, REQUEST, tmp_path / "run", IDLE)
    moved = Path(shutil.copytree(labels.parent, tmp_path / "moved"))
    renamed = open_set("csv", (moved / labels.name).rename(moved / "gate cameras.csv"))
    assert renamed.info.title != data.info.title
    assert train(renamed, REQUEST, tmp_path / "run", IDLE, resume=True) == outcome


def events(run: Path) -> dict[str, list[Any]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = EventAccumulator(str(run / "log"))
    log.Reload()
    return {tag: log.Scalars(tag) for tag in log.Tags()["scalars"]}


def test_health_of_router_and_gradient_is_logged(data: QualitySet, tmp_path: Path) -> None:
    train(data, REQUEST, tmp_path / "run", IDLE)
    found = {tag: series[-1].value for tag, series in events(tmp_path / "run").items()}
    assert found["gradient_norm"] > 0
    assert 0 <= found["router/load_entropy"] <= 1
    assert sum(found[f"router/expert_{e}"] for e in range(4)) == pytest.approx(2, abs=1e-5)
    assert {"loss/main", "loss/balance", "loss/router_z", "loss/ranking", "loss/classification", "lr"} <= found.keys()


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 8])
def test_run_stopped_after_any_step_resumes_to_the_same_weights(
    data: QualitySet, uninterrupted: RunResult, tmp_path: Path, stop: int
) -> None:
    def interrupt(done: int, total: int, text: str) -> None:
        if "loss" in text and done == stop:
            raise KeyboardInterrupt

    machine = replace(IDLE, save_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(data, longer(), tmp_path / "run", machine, progress=interrupt)
    outcome = train(data, longer(), tmp_path / "run", machine, resume=True)
    assert_same(uninterrupted.checkpoint, outcome.checkpoint)
    assert outcome.test == uninterrupted.test


def test_run_stopped_while_it_is_measured_repeats_no_step(
    data: QualitySet, uninterrupted: RunResult, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int, text: str) -> None:
        if text == "measuring":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, longer(), tmp_path / "run", IDLE, progress=interrupt)
    texts: list[str] = []
    outcome = train(
        data, longer(), tmp_path / "run", IDLE, resume=True, progress=lambda done, total, text: texts.append(text)
    )
    assert "measuring" in texts
    assert not any("loss" in text for text in texts)
    assert_same(uninterrupted.checkpoint, outcome.checkpoint)


DRIVER = """
import sys, warnings
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import IDLE, longer
from dataclasses import asdict, replace
from lifeiqa.models.datasets import open_set
from lifeiqa.models.training.training import train
import torch
torch.set_num_threads({threads})
train(open_set("csv", Path({labels!r})), longer(), Path({run!r}), replace(IDLE, workers=1, save_every=1), resume=True,
      progress=lambda done, total, text: print(done, text, flush=True))
"""


def test_killed_run_resumes_to_the_same_weights(labels: Path, uninterrupted: RunResult, tmp_path: Path) -> None:
    tests = Path(__file__).parent
    run = tmp_path / "run"
    driver = tmp_path / "driver.py"
    driver.write_text(
        f"import sys; sys.path.insert(0, {str(tests.parents[1])!r})\nif __name__ == '__main__':\n"
        + "".join(
            f"    {line}\n"
            for line in DRIVER.format(
                tests=str(tests), labels=str(labels), run=str(run), threads=torch.get_num_threads()
            ).splitlines()
        )
    )
    for kill_at in (3, None):
        process = subprocess.Popen([sys.executable, driver], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if kill_at is not None and line.startswith(f"{kill_at} ") and "loss" in line:
                process.send_signal(signal.SIGKILL)
                break
        process.stdout.close()
        process.wait(60)
        assert process.returncode == (0 if kill_at is None else -signal.SIGKILL)
    assert_same(uninterrupted.checkpoint, run / "best.pt")


TWO_PROCESSES = """
import sys
from dataclasses import asdict, replace
from pathlib import Path
sys.path.insert(0, {tests!r})
from helpers import TINY
from lifeiqa.models.datasets import open_set
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.models.training.run_folder import TrainRequest
from lifeiqa.models.training.training import ComputeOptions, train
from lifeiqa.models.network.variants import variant
recipe = Recipe(epochs=2, batch=8, frozen_norm=True, pretrained=False)
request = TrainRequest(variant("without-moe", TINY), recipe)
train(open_set("csv", Path({labels!r})), request, Path(sys.argv[1]), ComputeOptions(workers=0))
"""


def test_two_processes_share_the_work_and_reach_the_weights_of_one(labels: Path, tmp_path: Path) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parents[2]), labels=str(labels)))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for start, run in (([sys.executable], "one"), (launcher, "two")):
        subprocess.run([*start, driver, tmp_path / run], env=environment, check=True, timeout=120)
    one, two = weights(tmp_path / "one" / "best.pt"), weights(tmp_path / "two" / "best.pt")
    # No softmax sees a bias of the keys: its gradient is rounding alone, which Adam makes as large as any other.
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one if not name.endswith("key.bias"))
    torch.manual_seed(0)
    assert not torch.allclose(one["head.weight"], LifeIQA(TINY).state_dict()["head.weight"], atol=1e-3)


def test_folder_with_a_run_is_not_touched_without_resume_nor_by_other_settings(
    data: QualitySet, tmp_path: Path
) -> None:
    first = train(data, REQUEST, tmp_path / "run", IDLE)
    before = first.checkpoint.read_bytes()
    with pytest.raises(UsageError, match=r"a finished run. Add --resume"):
        train(data, REQUEST, tmp_path / "run", IDLE)
    assert train(data, REQUEST, tmp_path / "run", IDLE, resume=True) == first
    for other, message in (
        (replace(REQUEST, seed=1), r"seed was 0, is 1"),
        (replace(REQUEST, recipe=replace(QUICK, lr=1e-4)), r"recipe\.lr was 0\.001, is 0\.0001"),
        (replace(REQUEST, config=replace(TINY, experts=3)), r"config\.experts was 4, is 3"),
    ):
        with pytest.raises(UsageError, match=message):
            train(data, other, tmp_path / "run", IDLE, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(UsageError, match="something else"):
        train(data, REQUEST, tmp_path / "other", IDLE)
    assert first.checkpoint.read_bytes() == before


def test_damaged_state_is_an_error_that_says_what_to_do(data: QualitySet, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, text: str) -> None:
        if "loss" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, REQUEST, tmp_path / "run", IDLE, progress=interrupt)
    (tmp_path / "run" / "state.pt").write_bytes(b"PK")
    with pytest.raises(UsageError, match="remove the folder"):
        train(data, REQUEST, tmp_path / "run", IDLE, resume=True)


def test_half_stored_checkpoint_is_what_was_measured(data: QualitySet, tmp_path: Path) -> None:
    outcome = train(data, replace(REQUEST, recipe=replace(QUICK, half_weights=True)), tmp_path / "run", IDLE)
    stored = torch.load(outcome.checkpoint, weights_only=True)["state"]
    assert stored["head.weight"].dtype == torch.float16
    assert stored["head.bias"].dtype == torch.float32


def test_best_epoch_is_kept_where_the_recipe_says_so(data: QualitySet, tmp_path: Path) -> None:
    request = replace(REQUEST, recipe=replace(QUICK, select="best", epochs=4, lr=3e-3, schedule="step"))
    outcome = train(data, request, tmp_path / "run", IDLE)
    by_epoch = [event.value for event in events(tmp_path / "run")["test/plcc"]]
    assert len(by_epoch) == 4
    assert outcome.test.plcc == pytest.approx(max(by_epoch), abs=1e-6)
    assert len(set(by_epoch)) == 4


def test_frozen_stages_do_not_change(data: QualitySet, tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = tmp_path / "backbone.pth"
    torch.save(Backbone("test_efficientnet").inner_state(), path)
    before = torch.load(path, weights_only=True)
    recipe = replace(QUICK, epochs=1, frozen_stages=2, frozen_norm=True)
    outcome = train(data, TrainRequest(TINY, recipe, backbone_weights=path), tmp_path / "run", IDLE)
    after = {n.removeprefix("backbone.net.model."): t for n, t in weights(outcome.checkpoint).items()}
    assert all(
        torch.equal(after[n], t) for n, t in before.items() if n.startswith(("conv_stem", "blocks.0", "blocks.1"))
    )
    later = [n for n in before if n.startswith("blocks.2") and n.endswith("weight")]
    assert later
    assert not any(torch.equal(after[n], before[n]) for n in later)
    assert all(torch.equal(after[n], t) for n, t in before.items() if "running" in n)
    with pytest.raises(UsageError, match="no numbered stages"):
        train(
            data,
            TrainRequest(replace(TINY, backbone="test_resnet"), recipe),
            tmp_path / "other",
            IDLE,
        )


def note(losses: list[float], text: str) -> None:
    if text.startswith("head alone"):
        losses.append(float(text.split()[-1]))


def test_head_start_teaches_all_but_the_backbone(labels: Path, tmp_path: Path) -> None:
    data = open_set("csv", everything_is_trained_on(labels, tmp_path))
    torch.manual_seed(1)
    path = tmp_path / "backbone.pth"
    torch.save(Backbone("test_efficientnet").inner_state(), path)
    learning = replace(QUICK, levels=6, batch=12, standardize=True, head_crops=480, head_epochs=60)
    found, losses = {}, list[float]()
    for epochs in (1, 60):
        request = TrainRequest(TINY, replace(learning, epochs=0, head_epochs=epochs), backbone_weights=path)
        run = train(data, request, tmp_path / str(epochs), IDLE, progress=lambda done, total, text: note(losses, text))
        for name, tensor in torch.load(path, weights_only=True).items():
            assert torch.equal(weights(run.checkpoint)[f"backbone.net.model.{name}"], tensor), name
        with open_model_of(run) as score:
            found[epochs] = correlate(*predict(score, data.items[:22])).srocc
    assert losses[-1] < 0.5 * losses[0]
    assert found[60] > found[1] + 0.2


@pytest.mark.parametrize("stop", ["features", "head alone", "epoch"])
def test_run_stopped_in_its_head_start_or_after_it_resumes_to_the_same_weights(
    data: QualitySet, tmp_path: Path, stop: str
) -> None:
    request = replace(longer(), recipe=replace(longer().recipe, standardize=True, head_crops=24, head_epochs=2))
    whole = train(data, request, tmp_path / "whole", IDLE)

    def interrupt(done: int, total: int, text: str) -> None:
        if text.startswith(stop):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(data, request, tmp_path / "run", IDLE, progress=interrupt)
    texts: list[str] = []
    resumed = train(
        data, request, tmp_path / "run", IDLE, resume=True, progress=lambda done, total, text: texts.append(text)
    )
    assert_same(whole.checkpoint, resumed.checkpoint)
    assert any("head alone" in text for text in texts) == (stop != "epoch")


def test_training_starts_from_a_checkpoint_and_keeps_its_architecture(
    data: QualitySet, labels: Path, uninterrupted: RunResult, tmp_path: Path, command: Callable[..., Any]
) -> None:
    recipe = replace(QUICK, epochs=1, lr=1e-9, frozen_norm=True)
    start = uninterrupted.checkpoint
    gone_on = train(data, replace(REQUEST, recipe=recipe, start=start), tmp_path / "on", IDLE)
    for name, tensor in weights(start).items():
        torch.testing.assert_close(weights(gone_on.checkpoint)[name], tensor, atol=1e-3, rtol=1e-3)
    other = replace(REQUEST, start=start, config=replace(TINY, queries=5))
    with pytest.raises(CheckpointError, match="query_embedding"):
        train(data, other, tmp_path / "other", IDLE)
    options = ("--data", labels, "--output", tmp_path / "cli", "--start", start)
    refused = command(train_main, *options, "--backbone", "resnet18")
    assert refused.code == 2 and "--start keeps the checkpoint's architecture" in refused.err
    refused = command(train_main, *options, "--set", "grey=0.5")
    assert refused.code == 2 and "ranking loss" in refused.err
    refused = command(train_main, *options, "--epochs", 0, "--recipe", "ladders")
    assert refused.code == 2 and "nothing would be learnt" in refused.err
    options += ("--recipe", "ladders", "--set", "frozen_stages=0", "--set", "main_loss=smooth_l1")
    asked = {"rotate": True, "grey": 0.5, "on_the_fly": 0.4, "pristine_rank_weight": 2.0}
    asked |= {"ambiguous_weight": 0.5, "warmup_epochs": 0.3}
    options += tuple(part for key, value in asked.items() for part in ("--set", f"{key}={json.dumps(value)}"))
    done = command(train_main, *options, "--epochs", 1, "--batch", 12, "--workers", 0)
    assert done.code == 0, done.err
    settings = json.loads((tmp_path / "cli" / "run.json").read_text())
    assert TINY.main_loss == "l1" and settings["config"] == {**TINY.to_dict(), "main_loss": "smooth_l1"}
    assert asked.items() <= settings["recipe"].items()
    assert (settings["start"], settings["backbone_weights"]) == (load_checkpoint(start).sha256, None)


def test_result_lies_between_the_weights_of_start_and_end(
    data: QualitySet, labels: Path, uninterrupted: RunResult, tmp_path: Path, command: Callable[..., Any]
) -> None:
    recipe, start = replace(QUICK, epochs=1, lr=1e-2), uninterrupted.checkpoint
    end = train(data, replace(REQUEST, recipe=recipe, start=start), tmp_path / "end", IDLE)
    shared = replace(REQUEST, recipe=replace(recipe, start_share=0.75), start=start)
    mixed = train(data, shared, tmp_path / "mixed", IDLE)
    first, last, found = (weights(path) for path in (start, end.checkpoint, mixed.checkpoint))
    moved = 0
    for name, tensor in found.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * first[name] + 0.25 * last[name])
            moved += not torch.equal(first[name], last[name])
        else:
            assert torch.equal(tensor, last[name])
    assert moved > 10
    assert mixed.test != end.test
    refused = command(train_main, "--data", labels, "--output", tmp_path / "cli", "--set", "start_share=0.5")
    assert refused.code == 2 and "--start" in refused.err


def test_crops_of_another_size_are_learned_from_and_recorded(data: QualitySet, tmp_path: Path) -> None:
    outcome = train(data, replace(REQUEST, recipe=replace(QUICK, epochs=1, crop_size=96)), tmp_path / "run", IDLE)
    assert load_checkpoint(outcome.checkpoint).preprocess.crop_size == 96
    config = replace(TINY, backbone="swin_tiny_patch4_window7_224")
    swin = replace(REQUEST, recipe=replace(QUICK, crop_size=100), config=config)
    with pytest.raises(UsageError, match="cannot read 100x100 crops"):
        train(data, swin, tmp_path / "swin", IDLE)


def test_pictures_smaller_than_a_crop_are_learned_from_and_measured(tmp_path: Path) -> None:
    labels = make_ladder_csv(tmp_path / "set")
    for path in labels.parent.glob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path))[:100, :80])
    run = train(open_set("csv", labels), replace(REQUEST, recipe=replace(QUICK, epochs=1)), tmp_path / "run", IDLE)
    assert load_checkpoint(run.checkpoint).preprocess.crop_size == 224


def everything_is_trained_on(labels: Path, folder: Path) -> Path:
    """A list whose first 22 pictures, test part and all, are trained on, and whose last 11 are tested."""
    everything = labels.parent / f"{folder.name}.csv"
    rows = labels.read_text().splitlines()
    everything.write_text("\n".join([rows[0], *(r.replace(",test,", ",train,") for r in rows[1:23]), *rows[-11:]]))
    return everything


def test_trained_network_orders_what_it_was_trained_on(labels: Path, tmp_path: Path) -> None:
    data = open_set("csv", everything_is_trained_on(labels, tmp_path))
    request = replace(REQUEST, recipe=replace(QUICK, epochs=60, batch=12, levels=6, lr=3e-3, warmup_epochs=6))
    run = train(data, request, tmp_path / "run", IDLE)
    with open_model_of(run) as score:
        assert correlate(*predict(score, data.items[:22])).srocc > 0.6


def open_model_of(run: RunResult) -> Any:
    from lifeiqa.models.evaluation.assess import open_model

    return open_model(run.checkpoint)


def test_loss_that_is_no_number_stops_the_run(data: QualitySet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a number any more"):
        train(data, replace(REQUEST, recipe=replace(QUICK, lr=1e8, clip=0.0, epochs=30)), tmp_path / "run", IDLE)


def test_bad_data_is_an_error_before_the_first_step(labels: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    copy = make_ladder_csv(folder)
    picture = folder / "coffee_jpeg_3.png"
    whole = picture.read_bytes()
    steps: list[int] = []

    def run(**changes: Any) -> None:
        request = replace(REQUEST, recipe=replace(QUICK, **changes))
        train(
            open_set("csv", copy),
            request,
            tmp_path / "run",
            IDLE,
            progress=lambda done, total, text: steps.append(done) if "loss" in text else None,
        )

    picture.write_bytes(whole[:-20])
    with pytest.raises(DatasetError, match=r"cut short.*coffee_jpeg_3"):
        run()
    picture.unlink()
    with pytest.raises(DatasetError, match=r"1 of 55 listed pictures are not there.*coffee_jpeg_3"):
        run()
    picture.write_bytes(whole)
    with pytest.raises(DatasetError, match="fewer than one batch"):
        run(batch=100, levels=2)
    text = copy.read_text()
    copy.write_text(text.replace("pristine,0", ",0"))
    with pytest.raises(DatasetError, match="needs, in the columns pristine"):
        run()
    assert steps == []
    with pytest.raises(CheckpointError):
        path = tmp_path / "weights.pth"
        path.write_bytes(b"nothing")
        train(open_set("csv", labels), TrainRequest(TINY, QUICK, backbone_weights=path), tmp_path / "w", IDLE)


@pytest.mark.parametrize(
    "changes",
    [
        {"lr": 0.0},
        {"epochs": 0, "head_epochs": 0},
        {"batch": 7},
        {"rank_weight": -1},
        {"clip": float("nan")},
        {"crops": 0},
        {"grey": 0.1, "rank_weight": 0.0},
        {"on_the_fly": 0.1, "rank_weight": 0.0},
        {"on_the_fly": 0.1, "rank_weight": 1.0, "levels": 1},
        {"pristine_weight": -1},
        {"start_share": 1.0},
        {"start_share": 0.5, "select": "best"},
        {"classification_weight": float("inf")},
        {"anchors": 0.1},
        {"held_out": 1.0},
        {"ema": 1.0},
        {"rated": 0.1, "classification_weight": 0.0},
        {"rated": 0.95, "classification_weight": 0.0},
        {"rated": 0.5},
        {"rated": 0.5, "classification_weight": 0.0, "rank_weight": 0.0},
        {"rated": 0.5, "classification_weight": 0.0, "levels": 1},
        {"rated": 0.5, "classification_weight": 0.0, "anchors": 1.5},
        {"head_crops": 0},
        {"head_epochs": -1},
        {"crop_size": 32},
        {"grey": 1.5, "rank_weight": 1.0},
        {"batch": 8.0},
        {"rotate": 1},
        {"optimizer": "sgd"},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="Recipe"):
        replace(QUICK, **changes)


def test_recipes_are_those_of_paper_and_released_implementation() -> None:
    info = {name: entry[0] for name, entry in DATASETS.items()}
    for name in ("live", "csiq", "tid2013", "livec"):
        assert read_recipe("paper").recipe_for(info[name]).batch == 64
    for name in ("kadid10k", "koniq10k", "spaq"):
        assert read_recipe("paper").recipe_for(info[name]).batch == 128
    assert read_recipe("paper").recipe_for(info["tid2013"]).lr == 2e-4
    assert read_recipe("paper").recipe_for(info["koniq10k"]).lr == 2e-5
    paper = read_recipe("paper").recipe_for(info["live"])
    assert [paper.rate(epoch) for epoch in (0, 9.9, 10, 20.5)] == pytest.approx([1, 1, 0.01, 0.0001])
    released = read_recipe("released").recipe_for(info["live"])
    assert (released.optimizer, released.weight_decay, released.select) == ("adamw", 0.01, "best")
    assert [released.rate(epoch) for epoch in (0, 1, 2, 11)] == pytest.approx([0, 0.5, 1, 0.1])
    cosine = read_recipe("ladders").recipe_for(info["csv"])
    assert cosine.rate(cosine.epochs) == pytest.approx(0)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "csv"])
def test_each_benchmark_set_trains_an_epoch_and_is_evaluated(
    command: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    argument = f"{name}={make_miniature(name, tmp_path / name)}"
    options = [
        *SCRATCH,
        "--epochs",
        1,
        "--batch",
        8,
        "--workers",
        0,
    ]
    done = command(train_main, "--data", argument, "-o", tmp_path / "run", *options)
    assert done.code == 0, done.err
    best = tmp_path / "run" / "best.pt"
    assert done.out.splitlines()[-1] == str(best)
    assert "experts kept by tokens" in done.out
    prescribed = name == "biq2021"
    splits = command(eval_main, best, "--data", argument, "--splits", 3, "--crops", 1, "--format", "json")
    assert (splits.code, "prescribes its split" in splits.err) == ((2, True) if prescribed else (0, False)), splits.err
    if not prescribed:
        (result,) = json.loads(splits.out)["results"]
        assert result["pictures"] == "3 splits"
        assert len(result["by_split"]) == 3
        srocc = [split["srocc"] for split in result["by_split"]]
        assert result["overall"]["srocc"] == pytest.approx(np.median(srocc))
    info = DATASETS[name][0]
    done = command(eval_main, best, "--data", argument, "--crops", 1, "--all")
    assert done.code == 0, done.err
    assert f"note: the model was trained on {info.title}, split 0: some of these pictures are not new" in done.err
    assert f"note: {info.title} has {info.pictures} pictures" in done.err
    own = json.loads(command(eval_main, best, "--data", argument, "--format", "json").out)["results"][0]
    trained = json.loads((tmp_path / "run" / "report.json").read_text())["test"]
    assert own["pictures"] == ("test" if prescribed else "test of split 0")
    assert own["overall"] == pytest.approx(trained, abs=1e-3, nan_ok=True)
    with open_model_of(RunResult(best, Correlations.from_plain(trained), ())) as opened:
        data = open_set(name, tmp_path / name)
        assert {item.path for item in chosen(data, 10_000, opened.split_of(data))} == {
            item.path for item in split_set(data, 0)[1]
        }
        changed = replace(data, items=(replace(data.items[0], score=51.0), *data.items[1:]))
        assert (opened.split_of(changed), opened.was_trained_on_like(changed)) == (None, True)
    done = command(eval_main, best, "--data", argument, "--crops", 1, "-f", "markdown", "--by-type", "--all")
    types = Counter(item.distortion for item in open_set(name, tmp_path / name).items if item.distortion)
    assert bool(types) == (info.kind == "synthetic" or prescribed)
    for kind, count in types.items():
        assert (f"|   {kind} " in done.out) == (count >= MIN_TYPE), done.out
    assert load_checkpoint(best).preprocess.resize_to == (info.resize_to or (512,))


def test_commands_say_what_is_wrong_in_one_line(
    command: Callable[..., Any], labels: Path, tiny_pt: Path, tmp_path: Path
) -> None:
    small = SCRATCH
    plain = tmp_path / "plain.csv"
    _, *rows = (line.split(",") for line in labels.read_text().splitlines())
    plain.write_text("path,score\n" + "".join(f"{labels.parent / path},{score}\n" for path, score, *_ in rows))
    same = tmp_path / "same.csv"
    same.write_text("path,score\n" + "".join(f"{labels.parent / path},50\n" for path, *_ in rows))
    for arguments, message in (
        (["--data", plain, "--set", "classification_weight=0.1", *small], "does not tell distortions and levels apart"),
        (["--data", "nowhere=x"], "no data set called nowhere"),
        (["--data", "koniq10k"], "is not NAME=PATH"),
        (["--data", labels, "--data", plain], "trains on one set"),
        (["--data", same, *small], "pictures of the training part have the same score"),
        (["--data", labels, "--batch", 500, *small], "fewer than one batch of 500"),
        (["--data", f"{tmp_path}/a=b/none.csv"], "there is no"),
        (["--data", f"kadid={plain}"], "no data set called kadid"),
        (["--data", "~nobody.csv"], "there is no ~nobody.csv"),
        (["--data", f"live={tmp_path}"], "there is no dmos_realigned.mat in"),
        (["--data", f"live={tmp_path / 'none'}"], "The set is to be had at"),
        (["--data", tmp_path / "none.csv"], "there is no"),
        (["--data", labels, "--set", "variant=without-all", *small], "no variant without-all"),
        (["--data", labels, "--set", "reading=both", *small], "The reading is paper or released"),
        (["--data", labels, "--set", "balance=none", *small], "expected one of full, masked"),
        (["--data", labels, "--set", "main_loss=l2", *small], "expected one of l1, smooth_l1"),
        (["--data", labels, "--set", "bypass=none", *small], "expected one of scaled_input, scaled_moe"),
        (["--data", labels, "--set", "train_share=0", *small], "Shares must lie within"),
        (["--data", labels, "--recipe", "ladders", "--batch", 7, *small], "cannot hold ladders"),
    ):
        done = command(train_main, *arguments, "-o", tmp_path / "run")
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert message in done.err
    for arguments, message in (
        (["--data", labels, "--splits", 2], "--split and --splits do not go with"),
        (["--data", labels, "--device", "gpu"], "--device is auto, cpu or cuda"),
    ):
        done = command(eval_main, tiny_pt, *arguments)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert message in done.err
    assert not (tmp_path / "run").exists()


MIXED = replace(
    QUICK,
    rated=0.5,
    on_the_fly=0.5,
    anchors=0.1,
    grey=0.2,
    held_out=0.2,
    pair_weight=0.3,
    classification_weight=0.0,
    frozen_norm=True,
    quantized_epochs=0.5,
    ema=0.8,
    crop_size=64,
)
MIXED_REQUEST = TrainRequest(TINY, MIXED)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature("biq2021", tmp_path_factory.mktemp("rated") / "biq2021")


@pytest.fixture(scope="module")
def mixed_run(rated: Path, data: QualitySet, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("mixed") / "whole"
    return train(open_set("biq2021", rated), MIXED_REQUEST, folder, IDLE, further=[data])


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_mixed_run_stopped_after_any_step_resumes_to_the_same_weights(
    rated: Path, data: QualitySet, mixed_run: RunResult, tmp_path: Path, stop: int
) -> None:
    def interrupt(done: int, total: int, text: str) -> None:
        if "loss" in text and done == stop:
            raise KeyboardInterrupt

    machine, first = replace(IDLE, save_every=2), open_set("biq2021", rated)
    with pytest.raises(KeyboardInterrupt):
        train(first, MIXED_REQUEST, tmp_path / "run", machine, progress=interrupt, further=[data])
    outcome = train(first, MIXED_REQUEST, tmp_path / "run", machine, resume=True, further=[data])
    assert_same(mixed_run.checkpoint, outcome.checkpoint)
    assert asdict(outcome.test) == pytest.approx(asdict(mixed_run.test), rel=1e-6)  # of a fit, which follows rounding


def test_mixed_run_is_measured_on_what_was_held_out_and_says_what_it_learned_from(
    rated: Path, data: QualitySet, mixed_run: RunResult
) -> None:
    first = open_set("biq2021", rated)
    settings = load_checkpoint(mixed_run.checkpoint).training
    assert mixed_run.test.pictures == settings["report"]["test"]["pictures"] == 4
    assert (settings["data"]["train_pictures"], settings["data"]["held_out_pictures"]) == (16, 4)
    (further,) = settings["further"]
    assert (further["set"], further["pictures"]) == ("CSV", sum(item.split == "train" for item in data.items))
    tags = events(mixed_run.checkpoint.parent)
    assert {"loss/main", "loss/ranking", "loss/pairs"} <= tags.keys() and "loss/classification" not in tags
    with open_model_of(mixed_run) as opened:
        assert opened.split_of(first) == 0


def test_result_of_a_run_with_a_running_mean_is_the_mean(rated: Path, mixed_run: RunResult, tmp_path: Path) -> None:
    first = open_set("biq2021", rated)
    averaged = train(first, MIXED_REQUEST, tmp_path / "mean", IDLE)
    last = train(first, replace(MIXED_REQUEST, recipe=replace(MIXED, ema=0.0)), tmp_path / "last", IDLE)
    differing = [n for n, t in weights(averaged.checkpoint).items() if not torch.equal(t, weights(last.checkpoint)[n])]
    assert "head.weight" in differing
    best = replace(MIXED_REQUEST, recipe=replace(MIXED, select="best"))
    outcome = train(first, best, tmp_path / "best", IDLE)
    plcc = [event.value for event in events(tmp_path / "best")["test/plcc"]]
    assert outcome.test.plcc == pytest.approx(max(plcc), abs=1e-5)


def test_people_recipe_mixes_sets_from_the_command_line(
    command: Callable[..., Any], rated: Path, labels: Path, tmp_path: Path
) -> None:
    options = [*SCRATCH, "--recipe", "people", "--epochs", 1, "--batch", 8, "--workers", 0]
    options += ["--set", "crop_size=64"]
    enough = ["--set", "held_out=0.2"]
    done = command(
        train_main, "--data", f"biq2021={rated}", "--data", labels, "-o", tmp_path / "run", *options, *enough
    )
    assert done.code == 0, done.err
    assert "BIQ2021, held-out part" in done.out
    assert load_checkpoint(tmp_path / "run" / "best.pt").training["recipe"]["rated"] == 0.667
    for arguments, message in (
        (["--data", labels, "--data", f"biq2021={rated}", *enough], "name the set that people rated first"),
        (["--data", f"biq2021={rated}", "--set", "on_the_fly=0", *enough], "needs ladders"),
        (["--data", f"biq2021={rated}", "--set", "held_out=0.05"], "more are needed"),
        (
            ["--data", f"biq2021={rated}", "--data", f"biq2021={rated}", *enough],
            "4 pictures to train on are also those",
        ),
        (["--data", f"biq2021={rated}", "--set", "rated=0", *enough], "anchors are for mixed runs"),
    ):
        done = command(train_main, *arguments, *options, "-o", tmp_path / "other")
        errors = [line for line in done.err.splitlines() if not line.startswith("note: BIQ2021 has 12000 pictures")]
        assert (done.code, len(errors)) == (2, 1), done.err
        assert message in errors[0]
    assert not (tmp_path / "other").exists()
    broken = tmp_path / "biq2021"
    make_miniature("biq2021", broken)
    (broken / "Images" / "ss02 (2).jpg").write_bytes(b"\xff\xd8 no picture \xff\xd9")
    done = command(train_main, "--data", f"biq2021={broken}", *options, *enough, "-o", tmp_path / "other")
    assert done.code == 2 and "ss02 (2).jpg: not a picture" in done.err


def test_evaluation_says_where_a_set_was_a_further_one_of_the_training(
    command: Callable[..., Any], rated: Path, tmp_path: Path
) -> None:
    koniq = make_miniature("koniq10k", tmp_path / "koniq10k")
    first, further = open_set("biq2021", rated), open_set("koniq10k", koniq)
    recipe = replace(MIXED, on_the_fly=1.0, epochs=1)
    run = train(first, replace(MIXED_REQUEST, recipe=recipe), tmp_path / "run", IDLE, further=[further])
    for argument, noted in ((f"koniq10k={koniq}", True), (f"biq2021={rated}", False)):
        done = command(eval_main, run.checkpoint, "--data", argument, "--crops", 1)
        assert done.code == 0, done.err
        assert ("the model was also trained on KonIQ-10k" in done.err) == noted
