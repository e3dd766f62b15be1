"""Recipes are TOML files: a table `training` of `Recipe`'s settings, a table `network` of `LifeIQAConfig`'s.

`training` may have the tables `synthetic`, `authentic` and `large`, whose settings are for such data sets alone; a CSV
file counts as authentic. In `network`, `reading` ("paper" or "released") and `variant` (an ablation) say which network
the other settings change.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lifeiqa.models.datasets import SetInfo
from lifeiqa.models.network.config import SWIN_BASE, LifeIQAConfig
from lifeiqa.models.network.variants import variant
from lifeiqa.models.training.recipe import Recipe
from lifeiqa.models.training.recipes import recipe_names, recipe_text
from lifeiqa.runtime.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGE_SET = 10_000  # pictures from which the paper calls a set large-scale
_CONDITIONS = ("synthetic", "authentic", "large")
_TRAINING = {f.name for f in fields(Recipe)}
_NETWORK = {f.name for f in fields(LifeIQAConfig)} | {"reading", "variant"}
_KEEPS_TENSORS = {"balance", "bypass", "main_loss"}  # of a network: they fit the tensors of any checkpoint
_TABLES = {"training": _TRAINING, "network": _NETWORK}
_OPTIONS = ("compile", "precision", "seed", "split", "start", "workers")  # of lifeiqa-train, and no part of a recipe
_ALIASES = {  # what others call it, or what it was called before -> our name, in suggestions alone
    "learning_rate": "lr",
    "batch_size": "batch",
    "fresh": "on_the_fly",
    "half": "half_weights",
    "kind_weight": "classification_weight",
    "loss": "main_loss",
    "scratch": "pretrained",
    "turn": "rotate",
}


@dataclass(frozen=True)
class RecipeFile:
    """What a recipe file says, and what was set on top of it.

    Attributes:
        name: for messages.
        training: settings of `Recipe`.
        conditional: settings for some data sets, by condition: "synthetic", "authentic", "large".
        network: settings of `LifeIQAConfig`, `reading` and `variant`.
        changes: settings of `Recipe` that win over all others.
    """

    name: str
    training: Mapping[str, Any] = field(default_factory=dict)
    conditional: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, settings: Mapping[str, Any]) -> RecipeFile:
        """With settings by name, of training or network. Raises `UsageError` for one that does not exist."""
        for key in settings:
            _require_known(key, _TRAINING | _NETWORK, "There")
        return replace(
            self,
            changes={**self.changes, **{k: v for k, v in settings.items() if k in _TRAINING}},
            network={**self.network, **{k: v for k, v in settings.items() if k in _NETWORK}},
        )

    def recipe_for(self, info: SetInfo) -> Recipe:
        """The settings for a data set. Raises `UsageError` when one is of the wrong type or out of range."""
        values = dict(self.training)
        for condition in (info.kind, "large") if info.pictures >= LARGE_SET else (info.kind,):
            values |= self.conditional.get(condition, {})
        return Recipe(**{**values, **self.changes})

    def network_config(self, start: LifeIQAConfig | None = None) -> LifeIQAConfig:
        """The architecture: of its own, or that of a checkpoint to start from.

        Raises:
            UsageError: the network would not fit the checkpoint's tensors, or there is no such reading or variant.
            CheckpointError: a setting is out of range.
        """
        settings = dict(self.network)
        if start is not None:
            if other := sorted(settings.keys() - _KEEPS_TENSORS):
                raise UsageError(f"--start keeps the checkpoint's architecture; leave out {', '.join(other)}.")
            return LifeIQAConfig.from_dict({**start.to_dict(), **settings})
        reading, name = settings.pop("reading", "paper"), settings.pop("variant", "life-iqa")
        backbone, experts = settings.pop("backbone", SWIN_BASE), settings.pop("experts", None)
        base = variant(name, LifeIQAConfig.of_reading(reading, backbone, experts))
        return LifeIQAConfig.from_dict({**base.to_dict(), **settings})


def read_recipe(name: str) -> RecipeFile:
    """Reads a recipe of the package by its name, or a file by its path (it ends in .toml).

    Raises:
        UsageError: there is none of that name, or the file is missing, no TOML, or has a table or setting that does
            not exist.
    """
    if not name.endswith(".toml"):
        if name not in recipe_names():
            raise UsageError(
                f"There is no recipe called {name}; expected one of {', '.join(recipe_names())}, or a .toml file."
            )
        return _parse(recipe_text(name), name)
    try:
        return _parse(Path(name).read_text(encoding="utf-8"), name)
    except OSError as error:
        raise UsageError(f"Cannot read the recipe {name}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The recipe {name} is no text in UTF-8: {error}.") from error


def parse_settings(arguments: Iterable[str]) -> dict[str, Any]:
    """`["lr=1e-5", "bypass=scaled_moe"]` as values by name; what is no TOML value is text.

    Raises:
        UsageError: an argument is no KEY=VALUE, or a key is there twice.
    """
    found: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = (part.strip() for part in argument.partition("="))
        table, dot, key = name.replace("-", "_").rpartition(".")
        if dot and (table not in _TABLES or key not in _TABLES[table]):
            raise UsageError(f"There is no setting {name}; leave out the table, or name the one that it is in.")
        if not key or not equals or not text:
            raise UsageError(f"--set {argument} is not KEY=VALUE, such as --set lr=1e-5.")
        if key in found:
            raise UsageError(f"{key} is set twice.")
        try:
            parsed = tomllib.loads(f"value = {text}")
        except (ValueError, RecursionError):  # ValueError: no TOML, or a number of thousands of digits
            parsed = {"value": text}
        if len(parsed) > 1:
            raise UsageError(f"--set {argument!r} is more than one KEY=VALUE.")
        found[key] = parsed["value"]
    return found


def _parse(text: str, name: str) -> RecipeFile:
    where = f"Recipe {name}: there"
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The recipe {name} is no TOML file: {error}.") from error
    for table in content:
        _require_known(table, {"training", "network"}, where, "table")
    training, network = (_table(content, key, name) for key in ("training", "network"))
    conditional = {key: _table(training, key, name, "training.") for key in _CONDITIONS if key in training}
    training = {key: value for key, value in training.items() if key not in conditional}
    for settings, known in (
        (training, _TRAINING),
        (network, _NETWORK),
        *((c, _TRAINING) for c in conditional.values()),
    ):
        for key in settings:
            _require_known(key, known, where)
    return RecipeFile(name, training, conditional, network)


def _table(content: Mapping[str, Any], key: str, name: str, parent: str = "") -> dict[str, Any]:
    found = content.get(key, {})
    if not isinstance(found, dict):
        raise UsageError(f"Recipe {name}: {key} is no table; write [{parent}{key}] above its settings.")
    return found


def _require_known(key: str, known: set[str], where: str, what: str = "setting") -> None:
    if key in known:
        return
    if key in _OPTIONS:
        raise UsageError(f"{where} is no {what} {key}; use the option --{key}.")
    names = {name: name for name in known} | {alias: name for alias, name in _ALIASES.items() if name in known}
    near = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.7)
    advice = f"; did you mean {names[near[0]]}?" if near else f". There are {', '.join(sorted(known))}."
    raise UsageError(f"{where} is no {what} {key}{advice}")
