"""What a contender of the speed benchmark is: how it is named, loaded, called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from lifeiqa.runtime.arrays import UInt8Array

Family = Literal["lifeiqa", "pytorch", "other network", "classical"]
Score = Callable[[UInt8Array], Any]  # (B, S, S, 3) uint8 RGB -> (B,) scores, a NumPy array in main memory


@dataclass(frozen=True)
class Task:
    """What a contender is loaded with.

    Attributes:
        name: its key in `CONTENDERS`.
        ckpt: the checkpoint, which contenders in PyTorch read.
        model: the exported model, for contenders that run one; else None.
        device: "cpu" or "cuda".
        threads: of the CPU; 0: what the engine takes by itself.
    """

    name: str
    ckpt: Path
    model: Path | None
    device: str
    threads: int

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Task:
        """Reads what `to_plain` gave."""
        model = values["model"]
        plain = {**values, "ckpt": Path(values["ckpt"]), "model": None if model is None else Path(model)}
        return cls(**plain)


@dataclass(frozen=True)
class Loaded:
    """A contender that is ready to score.

    Attributes:
        score: (B, S, S, 3) uint8 RGB -> (B,) scores.
        engine: names and versions of what computes.
        close: releases what it holds.
    """

    score: Score
    engine: str
    close: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Contender:
    """One entry of `CONTENDERS`.

    Attributes:
        title: for people.
        family: for the table.
        load: makes it ready; raises `ImportError` or `MissingError` where something is not installed.
        modules: what is imported before it is loaded; the time of that is reported apart.
        package: what to install where a module is missing.
        precision: of its arithmetic; None: as the exported model says.
        suffix: of the exported models that it runs; "" where it runs none.
        fp32_only: whether only FP32 models are of use to it.
        devices: where it runs.
        reads_checkpoint: whether its file is the checkpoint.
        prepare: makes the file that is loaded out of the model, in a folder.
    """

    title: str
    family: Family
    load: Callable[[Task], Loaded]
    modules: tuple[str, ...]
    package: str
    precision: str | None = "fp32"
    suffix: str = ""
    fp32_only: bool = False
    devices: tuple[str, ...] = ("cpu", "cuda")
    reads_checkpoint: bool = False
    prepare: Callable[[Path, Path], Path] | None = None

    @property
    def runs_checkpoint(self) -> bool:
        """Whether its scores are those of the checkpoint's network."""
        return self.family in ("lifeiqa", "pytorch")


def import_quietly(module: str) -> Any:
    """Imports a module without the telemetry of OpenVINO and NNCF, which would send events; both do without."""
    modules: dict[str, Any] = sys.modules
    hide = "openvino_telemetry" not in modules
    if hide:
        modules["openvino_telemetry"] = None  # to the import system: there is no such module
    try:
        return importlib.import_module(module)
    finally:
        if hide:
            del modules["openvino_telemetry"]
