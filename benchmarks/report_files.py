"""Reads result files of the benchmarks, and refuses one that is malformed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeiqa.runtime.errors import UsageError

FORMAT = 1
MAX_BYTES = 64_000_000


@dataclass(frozen=True)
class Maybe:
    """A value that may be null or missing."""

    shape: Any


TEXT, NUMBER, POSITIVE, COUNT = "text", "a number", "a number above 0", "a whole number from 0"
_FIGURE, _TEXT = Maybe(NUMBER), Maybe(TEXT)
_LEFT_OUT = Maybe([{"name": TEXT, "why": TEXT}])
_COMMON = {
    "environment": {
        **dict.fromkeys(("cpu", "machine", "system", "gpu", "driver", "python", "date"), _TEXT),
        **{name: Maybe(COUNT) for name in ("cores", "allowed_cores", "memory_bytes")},
        "features": Maybe([TEXT]),
        "versions": Maybe({}),
    },
    "configuration": {},
}
_BATCH = {"batch": COUNT, "median_s": POSITIVE, "p5_s": POSITIVE, "p95_s": POSITIVE, "p99_s": POSITIVE}
_CONTENDER = {
    **dict.fromkeys(("name", "family", "engine", "precision"), TEXT),
    "artifact_sha256": _TEXT,
    **dict.fromkeys(("size_bytes", "memory_bytes", "import_s", "load_s", "first_s", "worst_crop"), _FIGURE),
    "batches": [{**_BATCH, "crops_per_s": POSITIVE}],
}
_STAGES = {"picture": TEXT, **{f"{name}_s": NUMBER for name in ("read", "decode", "preprocess", "infer", "collect")}}
_FOLDER = {
    "picture": TEXT,
    "pictures": COUNT,
    "seconds": [POSITIVE],
    "pictures_per_s": POSITIVE,
    "core_ms": {"decode": NUMBER, "preprocess": NUMBER, "infer": POSITIVE},
    "not_inference_share": NUMBER,
}
_STREAM = {
    "frame": TEXT,
    "frames_per_s": NUMBER,
    "latency_ms": NUMBER,
    "age_ms": _FIGURE,
    "camera_frames_per_s": _FIGURE,
}
_RESULT = {"contender": TEXT, "subset": TEXT, "srocc": _FIGURE, "srocc_interval": Maybe([NUMBER]), "ms": _FIGURE}
_SET = {
    "data": TEXT,
    "pictures": COUNT,
    "results": [_RESULT],
    "published": Maybe([{"method": TEXT, "srocc": NUMBER, "trained": TEXT, "source": TEXT}]),
}
# What the page needs of each kind; a file may hold more.
SHAPES: dict[str, Any] = {
    "latency": {**_COMMON, "contenders": [_CONTENDER], "stages": Maybe(_STAGES), "left_out": _LEFT_OUT},
    "end_to_end": {**_COMMON, "folder": _FOLDER, "stream": Maybe(_STREAM), "left_out": _LEFT_OUT},
    "agreement": {
        **_COMMON,
        "pairs": [{"picture": TEXT, "reference": NUMBER, "score": NUMBER}],
        "artifact": {"name": TEXT, "precision": _TEXT, "engine": _TEXT},
        "srocc": _FIGURE,
        "plcc": _FIGURE,
        "worst": NUMBER,
        "median": NUMBER,
    },
    "people": {
        **_COMMON,
        "contenders": [{"name": TEXT, "sha256": _TEXT, "package": _TEXT}],
        "left_out": Maybe([TEXT]),
        "sets": [_SET],
    },
}
_NOT_EMPTY = {"contenders", "pairs", "sets", "folder.seconds"}


@dataclass(frozen=True)
class Result:
    """A result file that was read.

    Attributes:
        name: of the file.
        kind: one of `SHAPES`.
        data: what it holds; has what `SHAPES` asks for.
    """

    name: str
    kind: str
    data: dict[str, Any]


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Reads and checks every file.

    Raises:
        UsageError: one cannot be read, is of a kind that nobody knows, or is malformed.
    """
    return [_read(path) for path in paths]


def _read(path: Path) -> Result:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} has more than {MAX_BYTES // 1_000_000} MB; that is no result file.")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON; name a file that a benchmark wrote with --json.") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} is not a result file; name one that a benchmark wrote with --json.")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in SHAPES:
        known = ", ".join(SHAPES)
        raise UsageError(f"{path} is of kind {kind!r}; the report knows {known}.")
    if data.get("format") != FORMAT:
        raise UsageError(f"{path} has format {data.get('format')!r}, not {FORMAT}; measure anew with this version.")
    problem = _problem(data, SHAPES[kind], "")
    if problem:
        raise UsageError(f"{path} is malformed: {problem}. Measure anew.")
    return Result(path.name, kind, data)


def _problem(value: Any, shape: Any, where: str) -> str:
    """What is wrong with a value, "" where nothing is."""
    if isinstance(shape, Maybe):
        return "" if value is None else _problem(value, shape.shape, where)
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return f"{where} is not an object"
        pairs = ((value.get(name), part, f"{where}.{name}".lstrip(".")) for name, part in shape.items())
        return next(filter(None, (_problem(*pair) for pair in pairs)), "")
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{where} is not a list"
        if not value and where in _NOT_EMPTY:
            return f"{where} is empty"
        found = (_problem(item, shape[0], f"{where}[{k}]") for k, item in enumerate(value))
        return next(filter(None, found), "")
    return "" if _fits(value, shape) else f"{where} is not {shape}"


def _fits(value: Any, shape: str) -> bool:
    if shape == TEXT:
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    if shape == COUNT:
        return isinstance(value, int) and value >= 0
    return abs(value) < 1e15 and (shape != POSITIVE or value > 1e-12)
