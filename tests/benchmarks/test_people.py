import csv
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from miniatures import make_miniature
from scipy.stats import spearmanr

from lifeiqa.models.datasets import DATASETS, QualitySet
from lifeiqa.models.synthesis.ladders import ladder

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """benchmarks/people.py where neither BRISQUE's nor NIQE's package is installed."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setitem(sys.modules, "brisque", None)
    monkeypatch.setitem(sys.modules, "iqa.niqe.niqe_core", None)
    return importlib.import_module("people")


@pytest.fixture
def run(people: ModuleType, command: Callable) -> Callable:
    return lambda *arguments: command(lambda: people.run_app(people.app), *arguments)


@pytest.fixture(scope="module")
def biq2021(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature("biq2021", tmp_path_factory.mktemp("biq2021"), contents=6)


def rows_of(text: str) -> list[list[str]]:
    """The rows of all tables, without their borders."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]


def test_the_test_half_is_measured_and_sorted_by_srocc(run: Callable, biq2021: Path, tiny_onnx: Path) -> None:
    done = run("--data", f"biq2021={biq2021}", "--model", tiny_onnx)
    assert done.code == 0, done.err
    assert "BIQ2021: 5 test pictures" in done.out
    rows = rows_of(done.out)
    assert {row[0] for row in rows} == {"lifeiqa-lite0.onnx", "tiny.onnx", "laplacian"}
    found = [float(row[1]) for row in rows]
    assert found == sorted(found, reverse=True)
    assert {row[5] for row in rows} == {"5"}
    assert all(float(row[6]) > 0 for row in rows)


def test_score_whose_package_is_missing_is_named_and_left_out(run: Callable, biq2021: Path, tmp_path: Path) -> None:
    done = run("--data", f"biq2021={biq2021}", "--json", tmp_path / "people.json")
    assert done.code == 0
    assert "left out: brisque (pip install brisque)" in done.err
    assert "left out: niqe (pip install iqa-torch)" in done.err
    report = json.loads((tmp_path / "people.json").read_text())
    assert [contender["name"] for contender in report["contenders"]] == ["lifeiqa-lite0.onnx", "laplacian"]
    assert len(report["left_out"]) == 2


def test_figures_of_the_json_follow_from_the_scores(
    run: Callable, people: ModuleType, tmp_path: Path, tiny_pt: Path
) -> None:
    root = make_miniature("livec", tmp_path / "livec")
    files = ("--json", tmp_path / "people.json", "--scores", tmp_path / "scores.csv")
    assert run("--data", f"livec={root}", "--model", tiny_pt, *files).code == 0
    with (tmp_path / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    (measured,) = json.loads((tmp_path / "people.json").read_text())["sets"]
    assert (measured["data"], measured["half"], measured["pictures"]) == ("LIVE Challenge", "part", 25)
    assert len(table) == 25 and len(measured["pictures_sha256"]) == 64
    labels = [float(row["label"]) for row in table]
    assert {result["contender"] for result in measured["results"]} == {"lifeiqa-lite0.onnx", "tiny.pt", "laplacian"}
    for result in measured["results"]:
        values = [float(row[result["contender"]]) for row in table]
        assert result["srocc"] == pytest.approx(spearmanr(values, labels).statistic, abs=1e-6)
        low, high = result["srocc_interval"]
        assert low <= result["srocc"] <= high
    picture = cv2.imread(str(next(root.rglob(table[0]["picture"]))))[:, :, ::-1]
    assert float(table[0]["laplacian"]) == pytest.approx(people.open_classical("laplacian")(picture), rel=1e-5)


def test_subsets_are_measured_apart(people: ModuleType, biq2021: Path) -> None:
    data = people.open_data(f"biq2021={biq2021}")
    as_one_half = QualitySet(data.info, tuple(replace(item, split="") for item in data.items))
    contender = people.Contender("sharp", people.open_classical("laplacian"), {})
    measured = people.measure([contender], as_one_half)
    assert measured.half == "part"
    assert [(row.subset, row.overall.pictures) for row in measured.rows] == [
        ("", 30),
        ("subset 1", 10),
        ("subset 2", 10),
        ("subset 3", 10),
    ]


def test_picture_that_a_score_is_not_defined_for_is_left_out_for_all(people: ModuleType, biq2021: Path) -> None:
    data = people.open_data(f"biq2021={biq2021}")
    calls = iter(range(100))
    second_fails = people.Contender("picky", lambda pixels: float("nan") if next(calls) == 1 else pixels.mean(), {})
    sharp = people.Contender("sharp", people.open_classical("laplacian"), {})
    measured = people.measure([second_fails, sharp], data)
    assert len(measured.left_out) == 1
    assert {row.overall.pictures for row in measured.rows} == {4}


def test_published_figures_stand_beside_with_their_source(run: Callable, tmp_path: Path) -> None:
    root = make_miniature("livec", tmp_path / "livec")
    done = run("--data", f"livec={root}", "--published", "--figure", tmp_path / "people.svg")
    assert done.code == 0
    rows = rows_of(done.out)
    assert ["TOPIQ", "0.811", "published, trained elsewhere", "", "", "", ""] in rows
    found = [float(row[1]) for row in rows]
    assert found == sorted(found, reverse=True)
    assert "published: IQA-PyTorch" in done.out
    assert "<svg" in (tmp_path / "people.svg").read_text()


def test_every_published_set_can_be_opened_by_its_name(people: ModuleType) -> None:
    sources = people.tomllib.loads(people.PUBLISHED.read_text())["source"]
    assert {source["data"] for source in sources} <= set(DATASETS)
    assert all(0 < srocc < 1 for source in sources for srocc in source["srocc"].values())
    assert {source["trained"] for source in sources} == {"elsewhere", "on it"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "livec=/nowhere"], "there is no /nowhere"),
        (["--data", "nonsense"], "is not NAME=PATH"),
        (["--data", "{biq}", "--model", "absent.onnx"], "absent.onnx"),
        (["--data", "{biq}", "--figure", "people.gif"], "people.png or people.svg"),
        ([], "--data"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    run: Callable, biq2021: Path, arguments: list[str], said: str
) -> None:
    done = run(*(argument.replace("{biq}", f"biq2021={biq2021}") for argument in arguments))
    assert done.code == 2
    (line,) = [line for line in done.err.splitlines() if line.startswith("error:")]
    assert said in line


def test_brisque_and_niqe_fall_with_every_step_of_blur_noise_and_jpeg(
    monkeypatch: pytest.MonkeyPatch, astronaut: np.ndarray
) -> None:
    pytest.importorskip("brisque")
    pytest.importorskip("iqa.niqe.niqe_core")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    classical = importlib.import_module("classical")
    for name in ("brisque", "niqe"):
        score = classical.open_classical(name)
        for kind in ("blur", "noise", "jpeg"):
            values = [score(copy) for copy in ladder(astronaut, kind)]
            assert values == sorted(values, reverse=True), (name, kind)
        assert np.isnan(score(np.full((64, 64, 3), 128, np.uint8)))
