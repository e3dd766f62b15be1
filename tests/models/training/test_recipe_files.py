"""Recipes are files: those of the package, a user's own, and what --set changes."""

import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from lifeiqa.models.commands.train import main as train_main
from lifeiqa.models.datasets import DATASETS
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.models.training.recipe_files import parse_settings, read_recipe
from lifeiqa.models.training.recipes import recipe_names
from lifeiqa.runtime.errors import CheckpointError, UsageError

INFO = {name: entry[0] for name, entry in DATASETS.items()}


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_every_recipe_of_the_package_makes_settings_for_every_data_set() -> None:
    assert {"paper", "released", "ladders"} <= set(recipe_names())
    for name in recipe_names():
        for info in INFO.values():
            assert isinstance(read_recipe(name).recipe_for(info), Recipe)


def test_a_setting_has_one_name_so_that_set_needs_no_table() -> None:
    assert not {f.name for f in fields(Recipe)} & ({f.name for f in fields(LifeIQAConfig)} | {"reading", "variant"})


def test_a_file_of_ones_own_and_its_tables_for_some_sets(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.toml",
        "[training]\nlr = 1e-3\nbatch = 8\n[training.authentic]\nlr = 1e-4\n[training.large]\nbatch = 16\n"
        '[network]\nreading = "released"\nvariant = "without-gcn"\nexperts = 2\n',
    )
    recipe = read_recipe(path)
    small, large = recipe.recipe_for(INFO["tid2013"]), recipe.recipe_for(INFO["koniq10k"])
    assert (small.lr, small.batch, large.lr, large.batch) == (1e-3, 8, 1e-4, 16)
    assert small.epochs == Recipe.epochs
    config = recipe.network_config()
    assert (config.grid, config.interaction, config.experts) == (7, "none", 2)
    changed = recipe.changed(parse_settings(["lr=2e-5", "network.experts=3", "training.batch = 4"]))
    assert changed.recipe_for(INFO["koniq10k"]).lr == 2e-5  # what is set wins over the table for such sets
    assert (changed.recipe_for(INFO["koniq10k"]).batch, changed.network_config().experts) == (4, 3)


def test_with_a_checkpoint_to_start_from_only_what_keeps_its_tensors_can_be_set() -> None:
    start = LifeIQAConfig.released("tf_efficientnet_lite0", 4)
    config = read_recipe("paper").changed({"bypass": "scaled_input"}).network_config(start)
    assert asdict(config) == {**asdict(start), "bypass": "scaled_input"}
    with pytest.raises(UsageError, match=r"--start keeps .*; leave out dim, reading"):
        read_recipe("paper").changed({"dim": 96, "reading": "paper"}).network_config(start)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nmomentum = 1\n", r"there is no setting momentum.* There are ambiguous_weight"),
        ("[training]\nlearning_rte = 1\n", r"did you mean lr\?"),
        ("[training]\nwarmup_epoch = 1\n", r"did you mean warmup_epochs\?"),
        ("[training.large]\nbatches = 1\n", r"there is no setting batches; did you mean batch\?"),
        ("[network]\nexpert = 1\n", r"did you mean experts\?"),
        ("[networks]\nexperts = 1\n", r"there is no table networks; did you mean network\?"),
        ("training = 3\n", r"training is no table; write \[training\]"),
        ("[training]\nsynthetic = 3\n", r"write \[training\.synthetic\]"),
        (f"[training]\nlr = {'1' * 5000}\n", r"is no TOML file"),
        (f"[training]\nlr = {'[' * 100_000}\n", r"is no TOML file"),
        ("[training]\nLR = 1\n", r"did you mean lr\?"),
        ("[training]\nseed = 3\n", r"use the option --seed"),
        ("[training]\nlr =\n", r"is no TOML file"),
    ],
)
def test_what_a_file_says_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_recipe(write(tmp_path / "mine.toml", text))


def test_values_are_checked_against_the_settings_types() -> None:
    paper, info = read_recipe("paper"), INFO["csv"]
    for settings, message in (
        ({"lr": "fast"}, "lr is 'fast'; expected a number from 0"),
        ({"epochs": 1.5}, "epochs is 1.5; expected a whole number from 0"),
        ({"flip": 1}, "flip is 1; expected true or false"),
        ({"optimizer": "sgd"}, "expected one of adam, adamw"),
    ):
        with pytest.raises(UsageError, match=message):
            paper.changed(settings).recipe_for(info)
    for experts in (2.5, 0, False):
        with pytest.raises(CheckpointError, match=f"experts is {experts}"):
            paper.changed({"experts": experts}).network_config()
    for name in ([], {}, "without-all"):
        with pytest.raises(UsageError, match="There is no variant"):
            paper.changed({"variant": name}).network_config()


def test_missing_and_unreadable_recipes_are_errors(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="no recipe called papers; expected one of ladders, paper, people, released, small"
    ):
        read_recipe("papers")
    with pytest.raises(UsageError, match="Cannot read the recipe"):
        read_recipe(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        read_recipe(str(tmp_path / "binary.toml"))
    for argument in ("lr", "lr=", "=3"):
        with pytest.raises(UsageError, match="is not KEY=VALUE"):
            parse_settings([argument])
    with pytest.raises(UsageError, match="lr is set twice"):
        parse_settings(["lr=1", "training.lr=2"])
    with pytest.raises(UsageError, match=r"There is no setting network\.lr"):
        parse_settings(["network.lr=1"])
    with pytest.raises(UsageError, match="more than one KEY=VALUE"):
        parse_settings(["lr=1\nbatch=3"])
    assert parse_settings([f"backbone={'[' * 100_000}"])["backbone"].startswith("[[")


def test_the_command_takes_a_recipe_and_settings_and_records_what_they_came_to(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    from miniatures import make_miniature

    data = ("--data", f"tid2013={make_miniature('tid2013', tmp_path / 'tid2013')}", "--workers", 0)
    small = ("--set", "pretrained=false", "--backbone", "test_efficientnet", "--epochs", 1, "--batch", 8)
    done = command(train_main, *data, "-o", tmp_path / "a", "--recipe", "paper", "--set", "lr=1e-5", *small)
    assert done.code == 0, done.err
    found = json.loads((tmp_path / "a" / "run.json").read_text())["recipe"]
    asked = {"lr": 1e-5, "epochs": 1, "batch": 8, "pretrained": False, "decay": read_recipe("paper").training["decay"]}
    assert found == {**asdict(Recipe()), **asked}
    for arguments, message in (
        (("--set", "lerning_rate=1"), "There is no setting lerning_rate; did you mean lr?"),
        (("--set", "expert=1"), "did you mean experts?"),
        (("--lr", 1e-3, "--set", "lr=1"), "lr is set twice"),
        (("--recipe", tmp_path / "none.toml"), "Cannot read the recipe"),
    ):
        refused = command(train_main, *data, "-o", tmp_path / "b", *arguments)
        assert (refused.code, refused.err.count("\n")) == (2, 1), refused.err
        assert message in refused.err
    assert not (tmp_path / "b").exists()


def test_help_fits_on_one_screen(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for columns, lines in (("80", 46), ("100", 40)):
        monkeypatch.setenv("COLUMNS", columns)
        text = command(train_main, "--help").out
        assert text.count("\n") <= lines, text
