"""Which backbone: how well networks that were trained alike agree with people, and what a crop costs.

python benchmarks/backbones.py lite0.json lite1.json --json backbones.json --figure backbones.svg

Each file is what `lifeiqa-tables table1 --backbone NAME --format json` printed. Time is of the FP32 export in ONNX
Runtime; weights are random for that, and the networks take turns, round by round.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from common import SHIPPED
from contender import Score
from environment import environment
from latency import interleaved
from matplotlib.figure import Figure
from onnxruntime import InferenceSession
from rich.console import Console
from rich.table import Table

from lifeiqa.calibration.graph import session_of
from lifeiqa.export import onnx_file
from lifeiqa.models.checkpoints.checkpoint import Checkpoint
from lifeiqa.models.checkpoints.reader import load_checkpoint
from lifeiqa.models.network.config import LifeIQAConfig
from lifeiqa.models.network.life_iqa import LifeIQA
from lifeiqa.models.paper.figures import COLORS, STYLE, check_output, save
from lifeiqa.runtime.arrays import UInt8Array
from lifeiqa.runtime.console import new_app, run_app
from lifeiqa.runtime.errors import UsageError
from lifeiqa.runtime.files import atomic_write
from lifeiqa.runtime.limits import usable_cores

app = new_app()
BATCHES = (1, 8)


@dataclass(frozen=True)
class Trained:
    """A network as `lifeiqa-tables` trained it.

    Attributes:
        backbone: timm's name.
        reading: see `LifeIQAConfig.of_reading`.
        parameters: of the whole network.
        srocc: of each split's test pictures.
        how: what has to be alike for a comparison: recipe, changes, reading, splits, seed and pictures.
    """

    backbone: str
    reading: str
    parameters: int
    srocc: list[float]
    how: dict[str, Any]


def read_table(path: Path) -> Trained:
    """Reads one table of one backbone and one set. Raises `UsageError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        settings, (row,) = content["settings"], content["rows"]
        ((key, srocc),) = row["by_split"].items()
        (backbone,) = settings["backbones"]
        how = {name: settings[name] for name in ("recipe", "changes", "reading", "splits", "seed")}
        values = [float(value) for value in srocc]
        how["pictures"] = {key: settings["pictures"][key]}
        return Trained(backbone, settings["reading"], int(row["parameters"]), values, how)
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not what `lifeiqa-tables table1 --backbone NAME --format json` prints of one set, by this "
            "version."
        ) from error


def crop_times(networks: Sequence[Trained], shipped: Checkpoint, rounds: int) -> list[dict[int, float]]:
    """Median milliseconds a crop of each network's FP32 export, by batch size."""
    runs: dict[str, Score] = {}
    for network in networks:
        config = LifeIQAConfig.of_reading(network.reading, network.backbone)
        untrained = replace(shipped, config=config, state=LifeIQA(config).state_dict())
        runs[network.backbone] = partial(_score, session_of(onnx_file.trace(untrained)))
    side, rng = shipped.preprocess.crop_size, np.random.default_rng(0)
    found: list[dict[int, float]] = [{} for _ in networks]
    for batch in BATCHES:
        crops = rng.integers(0, 256, (batch, side, side, 3), np.uint8)
        seconds = interleaved(runs, crops, rounds)
        for network, own in zip(networks, found, strict=True):
            own[batch] = 1000 * median(seconds[network.backbone]) / batch
    return found


def _score(session: InferenceSession, crops: UInt8Array) -> Any:
    return session.run(["score"], {"image": crops})[0]


def draw(networks: Sequence[Trained], times: Sequence[dict[int, float]]) -> Figure:
    """A point for each network: milliseconds a crop and median SROCC; small ones are single splits."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.subplots()
        for network, ms, color in zip(networks, times, COLORS, strict=False):
            x, y = ms[BATCHES[-1]], median(network.srocc)
            axes.scatter([x] * len(network.srocc), network.srocc, s=12, color="white", edgecolor=color, linewidth=0.8)
            axes.scatter([x], [y], s=40, color=color, zorder=3)
            axes.annotate(network.backbone, (x, y), xytext=(7, 0), textcoords="offset points", va="center")
        axes.set_xlim(0, 1.35 * max(ms[BATCHES[-1]] for ms in times))
        axes.set_xlabel(f"ms a crop, FP32, batches of {BATCHES[-1]}")
        axes.set_ylabel("SROCC with people")
    return figure


@app.command()
def backbones(
    tables: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Of lifeiqa-tables, one for each backbone.")],
    rounds: Annotated[int, typer.Option(min=3, help="How often each network is timed.")] = 25,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all figures.")] = None,
    figure_file: Annotated[Path | None, typer.Option("--figure", help="File for a figure: .png or .svg.")] = None,
) -> None:
    """Compares backbones of networks that were trained alike: SROCC with people against time."""
    if figure_file:
        check_output(figure_file)
    networks = [read_table(path) for path in tables]
    for path, network in zip(tables, networks, strict=True):
        if network.how != networks[0].how:
            differing = [name for name, value in network.how.items() if value != networks[0].how.get(name)]
            raise UsageError(f"{path} was trained otherwise than {tables[0]}: {', '.join(differing)} differ.")
    times = crop_times(networks, load_checkpoint(SHIPPED), rounds)
    shown = Table(title="ms a crop, and median SROCC over the splits", title_justify="left")
    for heading in ("", "parameters", *(f"batch {batch}" for batch in BATCHES), "SROCC", "splits"):
        shown.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for network, ms in zip(networks, times, strict=True):
        cells = [f"{network.parameters / 1e6:.1f} M", *(f"{ms[batch]:.1f}" for batch in BATCHES)]
        shown.add_row(network.backbone, *cells, f"{median(network.srocc):.3f}", str(len(network.srocc)))
    Console().print(shown)
    if json_file:
        result = {
            "kind": "backbones",
            "format": 1,
            "environment": environment(),
            "configuration": {"threads": usable_cores(), "rounds": rounds, **networks[0].how},
            "networks": [
                {
                    "backbone": network.backbone,
                    "parameters": network.parameters,
                    "srocc": network.srocc,
                    "crop_ms": {str(batch): ms[batch] for batch in BATCHES},
                }
                for network, ms in zip(networks, times, strict=True)
            ],
        }
        atomic_write(json_file, (json.dumps(result, indent=1) + "\n").encode())
    if figure_file:
        save(draw(networks, times), figure_file)


if __name__ == "__main__":
    run_app(app)
