"""Runs a table of the paper: trains and measures all its networks, and puts ours beside what the paper prints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lifeiqa.models.datasets import SPLITS, QualitySet, halves_sha256, prescribes_split, split_set
from lifeiqa.models.evaluation.assess import assess, open_model
from lifeiqa.models.evaluation.evaluation import Correlations, median_of
from lifeiqa.models.network.backbone import Backbone, load_backbone_weights
from lifeiqa.models.network.config import SWIN_BASE, LifeIQAConfig
from lifeiqa.models.network.life_iqa import parameters_of
from lifeiqa.models.network.variants import variant
from lifeiqa.models.paper.probing import STAGES, probe, stage_features
from lifeiqa.models.paper.tables import TABLES, Table, paper_results
from lifeiqa.models.training.recipe_files import RecipeFile, read_recipe
from lifeiqa.models.training.run_folder import RunResult, TrainRequest, read_result
from lifeiqa.models.training.trainer import ComputeOptions, Progress
from lifeiqa.models.training.training import preprocessing, train
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write


@dataclass(frozen=True)
class Settings:
    """How a table is run.

    Attributes:
        splits: random splits of each set; a set that prescribes its split has one.
        recipe: name of a recipe, or a file of one.
        changes: single settings of the recipe to change.
        reading: "paper" or "released".
        backbones: instead of the table's own; tables that compare networks take the first.
        backbone_weights, seed: see `TrainRequest`.
        pretrained: see `Recipe`.
        compute: see `ComputeOptions`.
        keep: leave the checkpoints; they are large, so by default only their figures stay. Those of Table II stay
            anyway: further sets are measured with them.
    """

    splits: int = SPLITS
    recipe: str = "paper"
    changes: Mapping[str, Any] | None = None
    reading: str = "paper"
    backbones: tuple[str, ...] = ()
    backbone_weights: Path | None = None
    pretrained: bool = True
    seed: int = 0
    compute: ComputeOptions = field(default_factory=ComputeOptions)
    keep: bool = False


@dataclass(frozen=True)
class Line:
    """One line of a finished table.

    Attributes:
        label: of the network, stage or type.
        parameters: of the network; 0 where it is no trained network.
        ours: medians over the splits, by set.
        paper: (SROCC, PLCC) by set, as printed.
        paper_parameters_m: in millions, as printed; None for not printed.
        by_split: SROCC of each split, by set; None where there is none.
    """

    label: str
    parameters: int
    ours: dict[str, Correlations]
    paper: dict[str, tuple[float, float]]
    paper_parameters_m: int | None
    by_split: dict[str, list[float | None]] = field(default_factory=dict)


def run_table(
    name: str,
    data: Mapping[str, QualitySet],
    folder: Path,
    settings: Settings = Settings(),
    progress: Progress = lambda done, total, text: None,
) -> list[Line]:
    """Trains and measures whatever the table needs that `folder` does not hold already.

    Args:
        name: of `TABLES`.
        data: sets by name; those that the table has and the user has not are left out. Of others, which the table has
            not, there are no figures of the paper.
        folder: one sub-folder for each run; a stopped table goes on where it was.
        settings: how.
        progress: of the run at work.

    Raises:
        UsageError: no such table, or none of its sets is given; see also `train`.
    """
    if name not in TABLES:
        raise UsageError(f"There is no table {name}. Known: {', '.join(TABLES)}.")
    table = TABLES[name]
    wanted = table.sets if not table.cross else table.cross
    given = [key for key in wanted if key in data]
    if table.takes_others:
        given += [key for key in data if key not in wanted]
    missing = [key for key in table.sets if key not in data] if table.cross else []
    if not given or missing:
        needed = ", ".join((*missing, *([] if given else wanted)))
        raise UsageError(f"{table.title} needs {needed}; name it with --data.")
    if table.backbones and settings.backbone_weights is not None and len(settings.backbones) != 1:
        raise UsageError("A file of weights is for one network; name it with --backbone.")
    rows = _rows(table, settings)
    if name == "figure2":
        return _probe(table, data, given, settings, progress)
    runs = _Runs(folder, settings, table.by_type, progress)
    printed = paper_results().get(name, {})
    lines: list[Line] = []
    for label, config, share in rows:
        ours: dict[str, Correlations] = {}
        by_split: dict[str, list[float | None]] = {}
        types: dict[str, list[Correlations]] = {}
        for key in table.sets if table.cross else given:
            found = [
                runs.measure(label, config, share, key, data[key], split, {k: data[k] for k in given if table.cross})
                for split in _splits(data[key], settings)
            ]
            for target in given if table.cross else [key]:
                ours[target] = median_of([measured[target] for measured in found])
                by_split[target] = [measured[target].to_plain()["srocc"] for measured in found]
            for measured in found if table.by_type else []:
                for kind in (k for k in measured if k.startswith("type:")):
                    types.setdefault(kind.removeprefix("type:"), []).append(measured[kind])
        paper = printed.get(label, {})
        lines.append(
            Line(
                label,
                parameters_of(config),
                ours,
                {k: (v[0], v[1]) for k, v in paper.get("results", {}).items() if k in ours},
                paper.get("parameters_m"),
                by_split,
            )
        )
        lines += [Line(kind, 0, {given[0]: median_of(found)}, {}, None) for kind, found in sorted(types.items())]
    return lines


def _rows(table: Table, settings: Settings) -> list[tuple[str, LifeIQAConfig, float]]:
    def base(backbone: str) -> LifeIQAConfig:
        return LifeIQAConfig.of_reading(settings.reading, backbone)

    if table.backbones:
        return [(backbone, base(backbone), 1.0) for backbone in settings.backbones or table.backbones]
    backbone = settings.backbones[0] if settings.backbones else SWIN_BASE
    return [(row.label, variant(row.variant, base(backbone)), row.train_share) for row in table.rows]


def _recipe(settings: Settings, share: float) -> RecipeFile:
    """The recipe with what the table and the command change. Raises `UsageError` where it names a network."""
    recipe = read_recipe(settings.recipe)
    if recipe.network:
        raise UsageError(
            f"The recipe {settings.recipe} has a table [network], but the networks of a table are given. Leave it out, "
            "and use --reading and --backbone."
        )
    changes = dict(settings.changes or {})
    if share != 1:
        changes["train_share"] = share
    if not settings.pretrained:
        changes["pretrained"] = False
    return recipe.changed(changes)


def _splits(data: QualitySet, settings: Settings) -> range:
    return range(1 if prescribes_split(data) else settings.splits)


class _Runs:
    """Trained and measured networks, one folder each, made when first asked for."""

    def __init__(self, folder: Path, settings: Settings, by_type: bool, progress: Progress) -> None:
        self.folder, self.settings, self.by_type, self.progress = folder, settings, by_type, progress

    def measure(
        self,
        label: str,
        config: LifeIQAConfig,
        share: float,
        key: str,
        data: QualitySet,
        split: int,
        cross: Mapping[str, QualitySet],
    ) -> dict[str, Correlations]:
        """Figures on the test part under the set's name, on other sets under theirs, on types under "type:NAME"."""
        slug = "".join(c if c.isalnum() else "-" for c in label.lower()).strip("-")
        run = self.folder / f"{slug}-{key}-split{split}"
        settings = self.settings
        recipe = _recipe(settings, share).recipe_for(data.info)
        if recipe.rated or recipe.held_out:
            raise UsageError(
                f"The recipe {settings.recipe} is for runs of their own (rated, held_out): the paper's tables are "
                "trained on one set, and measured on its test part."
            )
        request = TrainRequest(config, recipe, split, settings.seed, settings.backbone_weights)
        text = f"{label}, {data.info.title}, split {split + 1}"
        trained_before = read_result(run) is not None
        outcome = train(
            data, request, run, settings.compute, True, lambda k, n, what: self.progress(k, n, f"{text}: {what}")
        )
        found = {key: outcome.test}
        if self.by_type:  # by the run's settings, its test part is the one that was measured
            test = replace(data, items=tuple(split_set(data, split)[1]))
            _, types = self._measured(run / "types.json", test, outcome)
            found |= {f"type:{kind}": value for kind, value in types.items()}
        for name, other in cross.items():
            found[name], _ = self._measured(run / f"{name}.json", other, outcome)
        if not (settings.keep or cross or trained_before):
            outcome.checkpoint.unlink(missing_ok=True)
            shutil.rmtree(run / "log", ignore_errors=True)
        return found

    def _measured(
        self, path: Path, data: QualitySet, outcome: RunResult
    ) -> tuple[Correlations, dict[str, Correlations]]:
        """Figures over a set and by its types; from the file if it has those of these names and labels."""
        digest = halves_sha256((), data.items)
        if path.exists():
            content: dict[str, Any] = json.loads(path.read_text())
            if content["sha256"] == digest:
                by_type = {k: Correlations.from_plain(values) for k, values in content["by_type"].items()}
                return Correlations.from_plain(content["overall"]), by_type
        if not outcome.checkpoint.exists():
            raise UsageError(
                f"{outcome.checkpoint} is gone, and with it what {data.info.title} could be measured with; remove "
                f"{outcome.checkpoint.parent} to train it anew, or name another --output."
            )
        with open_model(outcome.checkpoint) as score:
            result = assess(score, data, whole=True)
        plain = {
            "sha256": digest,
            "overall": result.overall.to_plain(),
            "by_type": {k: c.to_plain() for k, c in result.by_type.items()},
        }
        atomic_write(path, json.dumps(plain, indent=1).encode())
        return result.overall, result.by_type


def _probe(
    table: Table, data: Mapping[str, QualitySet], given: Sequence[str], settings: Settings, progress: Progress
) -> list[Line]:
    lines = []
    for name in settings.backbones or table.backbones:
        torch.manual_seed(settings.seed)
        weights = settings.backbone_weights
        backbone = Backbone(name, settings.pretrained and weights is None, STAGES).eval()
        if weights is not None:
            load_backbone_weights(backbone, weights)
        found: dict[int, dict[str, Correlations]] = {stage: {} for stage in STAGES}
        for key in given:
            quality_set = data[key]
            spec = preprocessing(LifeIQAConfig(backbone=name), quality_set)
            text = f"{name}, {quality_set.info.title}"
            features = stage_features(
                backbone,
                spec,
                quality_set.items,
                progress=lambda k, n, text=text: progress(k, n, text),  # type: ignore[misc]
            )
            row = {item.path: k for k, item in enumerate(quality_set.items)}
            scores = np.array([item.score for item in quality_set.items])
            halves = [
                tuple([row[item.path] for item in half] for half in split_set(quality_set, split))
                for split in _splits(quality_set, settings)
            ]
            for stage, values in zip(STAGES, features, strict=True):
                results = [probe(values[a], scores[a], values[b], scores[b]) for a, b in halves]
                found[stage][key] = median_of(results)
        lines += [Line(f"{name}, stage {stage}", 0, found[stage], {}, None) for stage in STAGES]
    return lines
