import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lifeiqa.models.commands.synth import main as synth_main
from lifeiqa.models.datasets import open_set, prescribes_split, split_set
from lifeiqa.models.synthesis.distortions import DISTORTIONS
from lifeiqa.models.synthesis.ladders import held_out_pictures
from lifeiqa.models.synthesis.pseudo_mos import fuse
from lifeiqa.models.synthesis.synthetic import (
    SyntheticPlan,
    further_references,
    read_photograph_list,
    references_of,
    synthesize,
)
from lifeiqa.runtime.errors import DatasetError

PLAN = SyntheticPlan(scales=(400,), windows=1, types=4, further=1, further_types=2)
SMALL = replace(PLAN, types=2, further_types=1)


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


@pytest.fixture(scope="module")
def of_training(sources: Path) -> list[tuple[str, str]]:
    """The photographs to train on alone: one to test on gets all 25 types, which takes long."""
    return [(name, split) for name, split in read_photograph_list(sources / "list.csv") if split == "train"]


@pytest.fixture(scope="module")
def small(sources: Path, of_training: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with further references."""
    return synthesize(sources, of_training, tmp_path_factory.mktemp("small"), SMALL)


def rows_of(labels: Path) -> list[dict[str, str]]:
    with labels.open(newline="") as file:
        return list(csv.DictReader(file))


def test_set_has_every_level_of_every_ladder_and_no_content_in_both_splits(labels: Path) -> None:
    rows = rows_of(labels)
    assert len(rows) == 2 * (1 + 4 * 5) + (1 + 25 * 5) + 2 * (1 + 2 * 5)
    assert all((labels.parent / row["path"]).is_file() for row in rows)
    by_split = {split: {r["reference"] for r in rows if r["split"] == split} for split in ("train", "test")}
    assert not by_split["train"] & by_split["test"]


def test_further_references_are_of_training_photographs_alone(labels: Path) -> None:
    pristine = Counter(row["split"] for row in rows_of(labels) if row["distortion"] == "pristine")
    assert pristine == {"train": 4, "test": 1}


def test_further_references_leave_the_others_as_they_are(
    sources: Path, of_training: list[tuple[str, str]], small: Path, tmp_path: Path
) -> None:
    plain = synthesize(sources, of_training, tmp_path, replace(SMALL, further=0))
    assert {row["path"] for row in rows_of(plain)} < {row["path"] for row in rows_of(small)}
    for row in rows_of(plain)[::5]:
        assert (tmp_path / row["path"]).read_bytes() == (small.parent / row["path"]).read_bytes()


def test_labels_fall_along_every_ladder(labels: Path) -> None:
    ladders: dict[tuple[str, str], list[float]] = {}
    for row in rows_of(labels):
        ladders.setdefault((row["pristine"], row["distortion"]), []).append(float(row["score"]))
    for name, scores in ladders.items():
        assert scores == sorted(scores, reverse=True), name
        assert all(0 < score <= 100 for score in scores)


def test_same_seed_gives_the_same_set_and_an_interrupted_run_goes_on(
    sources: Path, of_training: list[tuple[str, str]], small: Path, tmp_path: Path
) -> None:
    seen = []

    def stop_after_two(done: int, total: int) -> None:
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(sources, of_training, tmp_path, SMALL, progress=stop_after_two)
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "metrics").iterdir()}
    assert len(finished) >= 2
    assert not (tmp_path / "labels.csv").exists()
    again = synthesize(sources, of_training, tmp_path, SMALL, progress=lambda done, total: seen.append(done))
    assert again.read_bytes() == small.read_bytes()
    for name, written in finished.items():
        assert (tmp_path / "metrics" / name).stat().st_mtime_ns == written
    for row in rows_of(small)[:30]:
        assert (tmp_path / row["path"]).read_bytes() == (small.parent / row["path"]).read_bytes()


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
    plan = SyntheticPlan(further=4)
    for reference in references_of(photograph, plan) + further_references(photograph, plan, 0):
        assert reference.shape == (384, 512, 3)


@pytest.mark.parametrize(("shape", "count"), [((3000, 4500), 24), ((900, 1200), 11), ((450, 600), 4), ((300, 700), 0)])
def test_large_photographs_give_more_further_references(shape: tuple[int, int], count: int) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    plan = SyntheticPlan(further=24)
    references = further_references(photograph, plan, 3)
    assert len(references) == count
    assert len({reference.tobytes() for reference in references}) == count
    again = further_references(photograph, plan, 3)
    assert all(np.array_equal(a, b) for a, b in zip(references, again, strict=True))


def test_fused_labels_are_ranks_made_monotone() -> None:
    metrics = np.array([[0.9, 9.0], [0.8, 8.0], [0.5, 6.0], [0.6, 7.0]])
    assert fuse(metrics, 2).tolist() == pytest.approx([80, 60, 30, 30])


def test_command_makes_the_same_set(command: Callable[..., Any], sources: Path, labels: Path) -> None:
    options = ["--jobs", 1, "--scale", 400, "--windows", 1, "--types", 4]  # those of the set that is there already
    options += ["--further", 1, "--further-types", 2]
    done = command(synth_main, "--photos", sources, "--list", sources / "list.csv", "-o", labels.parent, *options)
    assert (done.code, done.out.strip()) == (0, str(labels)), done.err
    data = open_set("csv", labels.parent)
    assert prescribes_split(data)
    assert {item.distortion for item in split_set(data, 0)[1]} == {"pristine", *DISTORTIONS}


def test_command_says_what_is_wrong_in_one_line(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command(synth_main, "--photos", tmp_path, "--list", tmp_path / "none.csv", "-o", tmp_path / "set")
    assert (done.code, done.err.count("\n")) == (2, 1)
