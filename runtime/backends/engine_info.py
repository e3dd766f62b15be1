"""The sidecar of a TensorRT engine: `best.fp16.engine` is a pure plan file, `best.fp16.engine.json` says what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from lifeiqa.runtime.errors import ManifestError
from lifeiqa.runtime.manifest import METADATA_KEY, Manifest

FORMAT = 1
DEFAULT_BATCH = (1, 4, 16)
MAX_BATCH = 4096  # that exported graphs allow


@dataclass(frozen=True)
class EngineInfo:
    """What an engine was built for, and with.

    Attributes:
        builder: Python package that built it and can load it: "tensorrt" or "tensorrt_rtx".
        version: of that package.
        compute_capability: of the GPU it was built for, such as "8.7"; "" for TensorRT for RTX, which compiles for the
            GPU at hand when the engine is loaded.
        platform: operating system and processor, such as "linux-x86_64".
        batch: smallest, optimal and largest batch of its optimisation profile.
        hardware_compatible: it also runs on other GPUs, of Ampere (compute capability 8.0) or newer.
        version_compatible: it also loads in newer TensorRT versions of the same major number.
        sha256: of the plan file.
        size_bytes: of the plan file.
    """

    builder: str
    version: str
    compute_capability: str
    platform: str
    batch: tuple[int, int, int]
    hardware_compatible: bool
    version_compatible: bool
    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        plain = [field for field in fields(self) if field.name != "batch"]
        if wrong := [f.name for f in plain if type(getattr(self, f.name)).__name__ != f.type]:
            raise ManifestError(f"An engine's description has the wrong kind of value for {', '.join(wrong)}.")
        numbers = isinstance(self.batch, tuple) and all(type(n) is int for n in self.batch)
        if not numbers or len(self.batch) != 3 or not 1 <= self.batch[0] <= self.batch[1] <= self.batch[2]:
            raise ManifestError(f"An engine's batch range has three numbers 1 <= min <= opt <= max, not {self.batch}.")
        if self.builder not in ("tensorrt", "tensorrt_rtx"):
            raise ManifestError(f"This lifeiqa does not know the engine builder {self.builder!r}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EngineInfo:
        """Raises `ManifestError` when a field is missing, unknown or of the wrong kind."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or values.keys() != names or not isinstance(values["batch"], list):
            raise ManifestError(f"An engine's description must have exactly the fields {', '.join(sorted(names))}.")
        return cls(**{**values, "batch": tuple(values["batch"])})


def sidecar_path(engine: Path) -> Path:
    """best.fp16.engine -> best.fp16.engine.json."""
    return engine.with_name(engine.name + ".json")


def sidecar_of(manifest: Manifest, info: EngineInfo) -> bytes:
    """The content of an engine's sidecar."""
    content = {"format": FORMAT, METADATA_KEY: manifest.to_json(), "engine": asdict(info)}
    return (json.dumps(content, indent=1) + "\n").encode()


def read_sidecar(engine: Path) -> tuple[Manifest, EngineInfo]:
    """Reads the description beside an engine, without touching the engine.

    Raises:
        ManifestError: there is none, or it is malformed.
    """
    path = sidecar_path(engine)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ManifestError(
            f"{engine} has no readable description beside it ({path.name}: {error.strerror}), so nothing says what it "
            "was built for. Copy both files, or rebuild: lifeiqa-export --ckpt best.pt"
        ) from error
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON ({error}); rebuild the engine.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ManifestError(f"{path} is not of a format that this lifeiqa reads; rebuild the engine.")
    try:
        info = EngineInfo.from_dict(content["engine"])
    except (KeyError, TypeError) as error:
        raise ManifestError(f"{path} is malformed ({error}); rebuild the engine.") from error
    return Manifest.from_metadata(content, str(path)), info


def read_plan(engine: Path, info: EngineInfo, rebuild: str = "Build it again.") -> bytes:
    """Reads a plan file and makes sure that it is the one described, whole.

    `rebuild` ends the message where it is not.

    Raises:
        ManifestError: it is cut short, or another engine than its sidecar says.
    """
    try:
        plan = engine.read_bytes()
    except OSError as error:
        raise ManifestError(f"Cannot read {engine}: {error.strerror or error}.") from error
    if len(plan) < info.size_bytes:
        raise ManifestError(f"{engine} is cut short: {len(plan)} of {info.size_bytes} bytes. Copy it again. {rebuild}")
    if hashlib.sha256(plan).hexdigest() != info.sha256:
        raise ManifestError(
            f"{engine} is not the engine that {sidecar_path(engine).name} describes. Copy both files again. {rebuild}"
        )
    return plan
