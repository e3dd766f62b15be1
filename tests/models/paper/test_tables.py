"""Every table of the paper, end to end on miniature copies of the official sets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import torch
from miniatures import make_miniature

from lifeiqa.models.commands.tables import main as tables_main
from lifeiqa.models.network.backbone import Backbone
from lifeiqa.models.paper.tables import ALL_SETS, TABLES, paper_results

QUICK = ["--scratch", "--backbone", "test_efficientnet", "--epochs", 1, "--batch", 4, "--splits", 1, "--workers", 0]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    contents = {"tid2013": 10}  # two contents to test on, so that there are enough pictures of each type
    return {name: make_miniature(name, root / name, contents.get(name, 5)) for name in ALL_SETS}


def data_options(sets: dict[str, Path], names: tuple[str, ...]) -> list[str]:
    return [part for name in names for part in ("--data", f"{name}={sets[name]}")]


@pytest.mark.parametrize("name", TABLES)
def test_table_runs_and_shows_the_paper_beside_ours(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path, name: str
) -> None:
    table = TABLES[name]
    names = tuple(dict.fromkeys((*table.sets, *table.cross)))
    if name in ("table1", "figure6"):
        names = ("live", "spaq")  # the others are left out, as for a user who has not got them
    arguments = [name, *data_options(sets, names), *QUICK, "-o", tmp_path]
    done = command(tables_main, *arguments, "--format", "json")
    assert done.code == 0, done.err
    printed_file = json.loads(done.out)
    rows = printed_file["rows"]
    assert printed_file["settings"]["backbones"] == ["test_efficientnet"]
    assert printed_file["settings"]["pictures"].keys() == set(table.cross or names)
    measured = table.cross or [key for key in table.sets if key in names]
    printed = paper_results().get(name, {})
    for row in rows:
        assert set(row["ours"]) <= set(measured)
        assert all(-1 <= result["srocc"] <= 1 for result in row["ours"].values() if result["srocc"] is not None)
        if row["label"] in printed:
            assert row["paper"] == {k: printed[row["label"]]["results"][k] for k in measured}
    labels = [row["label"] for row in rows]
    assert [label for label in printed if label.startswith(("Life-IQA", "Stage", "With", "GCN", "MoE", "Swin"))] == [
        label for label in labels if label in printed
    ]
    if name == "figure2":
        assert labels == [f"test_efficientnet, stage {stage}" for stage in (1, 2, 3, 4)]
        return
    if name == "figure8":
        assert len(labels) > 1
    runs = sorted(tmp_path.rglob("*.json"))
    assert runs
    assert bool(list(tmp_path.rglob("*.pt"))) == bool(table.cross)
    before = [path.stat().st_mtime_ns for path in runs]
    again = command(tables_main, *arguments)
    assert again.code == 0, again.err
    assert [path.stat().st_mtime_ns for path in runs] == before
    assert table.title in again.out
    assert ("paper" in again.out) == (name.startswith("table"))


def test_table2_measures_a_set_that_is_new_or_has_changed(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path
) -> None:
    def run(*names: str) -> Any:
        return command(tables_main, "table2", *data_options(sets, names), *QUICK, "-o", tmp_path, "--format", "json")

    def figures(done: Any) -> dict[str, float]:
        assert done.code == 0, done.err
        return {name: found["srocc"] for name, found in json.loads(done.out)["rows"][0]["ours"].items()}

    first = figures(run("koniq10k", "csiq"))
    (best,) = tmp_path.rglob("best.pt")
    trained = best.stat().st_mtime_ns
    assert figures(run("koniq10k", "csiq", "live")).keys() == {"csiq", "live"}
    turned = make_miniature("csiq", tmp_path / "turned")
    table = turned / "csiq.DMOS.xlsx"
    book = openpyxl.load_workbook(table)
    sheet = book["all_by_image"]
    for (cell,) in sheet.iter_rows(min_row=5, min_col=9, max_col=9):
        if isinstance(cell.value, float | int):
            cell.value = 1 - cell.value
    book.save(table)
    sets = {**sets, "csiq": turned}
    assert figures(run("koniq10k", "csiq"))["csiq"] == pytest.approx(-first["csiq"], abs=1e-6)
    assert best.stat().st_mtime_ns == trained
    best.unlink()
    sets = {**sets, "csiq": make_miniature("csiq", tmp_path / "more", 6)}
    gone = run("koniq10k", "csiq")
    assert gone.code == 2
    assert "best.pt is gone" in gone.err


def test_sets_that_a_table_does_not_use_or_that_come_twice_are_told(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path
) -> None:
    done = command(tables_main, "table4", *data_options(sets, ("csiq", "csiq")), *QUICK, "-o", tmp_path)
    assert (done.code, "CSIQ is named twice" in done.err) == (2, True)
    done = command(tables_main, "table2", *data_options(sets, ("spaq",)), *QUICK, "-o", tmp_path)
    assert "SPAQ is not part of Table II: trained on KonIQ-10k, measured on others; it is left out" in done.err
    assert (done.code, "needs koniq10k" in done.err) == (2, True)


def test_table_is_run_on_a_set_that_the_paper_did_not_use(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path
) -> None:
    options = [*data_options(sets, ("csiq",)), *QUICK, "-o", tmp_path]
    done = command(tables_main, "table3", *options, "--format", "json")
    assert done.code == 0, done.err
    assert "CSIQ is not part of Table III: part of the training data; the paper has no figures of it" in done.err
    rows = json.loads(done.out)["rows"]
    assert [set(row["ours"]) for row in rows] == [{"csiq"}] * 3
    assert [row["paper"] for row in rows] == [{}] * 3
    assert all(len(row["by_split"]["csiq"]) == json.loads(done.out)["settings"]["splits"] for row in rows)


def test_probing_reads_the_weights_it_is_given(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path
) -> None:
    def probe(*further: object) -> Any:
        return command(tables_main, "figure2", *data_options(sets, ("livec",)), *QUICK, "-o", tmp_path, *further)

    def weights(seed: int) -> Path:
        torch.manual_seed(seed)
        torch.save(Backbone("test_efficientnet", stages=(1, 2, 3, 4)).inner_state(), tmp_path / f"{seed}.pth")
        return tmp_path / f"{seed}.pth"

    found = [probe("--backbone-weights", weights(seed)).out for seed in (0, 1, 0)]
    assert "stage 4" in found[0]
    assert found[0] == found[2] != found[1]
    done = probe("--backbone-weights", tmp_path / "none.pth")
    assert (done.code, "none.pth" in done.err) == (2, True), done.err
    done = probe("--backbone-weights", weights(0), "--backbone", "resnet18")
    assert (done.code, "for one network; name it with --backbone" in done.err) == (2, True), done.err


def test_checkpoints_that_were_kept_stay_when_the_table_is_printed_again(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path
) -> None:
    arguments = ["table1", *data_options(sets, ("livec",)), *QUICK, "-o", tmp_path]
    first = command(tables_main, *arguments, "--keep")
    kept = list(tmp_path.rglob("best.pt"))
    assert len(kept) == 1
    again = command(tables_main, *arguments)
    assert (again.code, again.out) == (0, first.out)
    assert kept[0].exists()


def test_numbers_of_the_paper_are_complete() -> None:
    printed = paper_results()
    assert printed["table1"]["Life-IQA"]["results"]["koniq10k"] == [0.937, 0.948]
    assert len(printed["table1"]) == 14
    assert {k: v["parameters_m"] for k, v in printed["table4"].items()} == {
        "GCN to MHA": 96,
        "MoE to FFN": 99,
        "Swin + decoder": 96,
        "Life-IQA": 95,
    }
    for name in ("table4", "table5", "table6"):
        assert printed[name]["Life-IQA"]["results"] == {"csiq": [0.966, 0.971], "kadid10k": [0.94, 0.943]}
    for table in (value for key, value in printed.items() if key != "source"):
        for row in table.values():
            assert all(0.3 < value < 1 for pair in row["results"].values() for value in pair)


def test_command_says_what_is_wrong_in_one_line(
    command: Callable[..., Any], sets: dict[str, Path], tmp_path: Path
) -> None:
    csiq, recipe = data_options(sets, ("csiq",)), tmp_path / "mine.toml"
    recipe.write_text("[network]\nexperts = 2\n")
    for arguments, notes, message in (  # a note that the miniature is not all there
        (["table9"], 0, "Known: table1, table2"),
        (["table4"], 0, "needs csiq, kadid10k; name it with --data"),
        (["table2", *data_options(sets, ("csiq",))], 1, "needs koniq10k"),
        (["table1", "--data", f"live={tmp_path}"], 0, "there is no dmos_realigned.mat"),
        (["table4", *csiq, "--recipe", "people"], 1, "the paper's tables are trained on one set"),
        (["table4", *csiq, "--recipe", recipe], 1, "has a table [network]"),
    ):
        done = command(tables_main, *arguments, "-o", tmp_path / "runs")
        assert (done.code, done.err.count("note: "), done.err.count("\n")) == (2, notes, 1 + notes), done.err
        assert message in done.err.splitlines()[-1]
    assert "koniq10k, csiq, tid2013, live" in command(tables_main, "list").out
